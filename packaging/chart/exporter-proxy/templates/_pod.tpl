{{- define "exporter-proxy.pod" -}}
metadata:
  annotations:
    checksum/config: {{ include "exporter-proxy.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{- end }}
  labels:
    {{- include "exporter-proxy.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{- end }}
spec:
  serviceAccountName: {{ include "exporter-proxy.serviceAccountName" . }}
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext: {{- toYaml .Values.podSecurityContext | nindent 4 }}
  containers:
    - name: exporter-proxy
      image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        {{- if eq .Values.mode "bridge" }}
        - bridge
        {{- end }}
        - --config
        - /etc/exporter-proxy/config.toml
        - --log-format
        - {{ .Values.logFormat }}
      {{- if or .Values.logLevel .Values.extraEnv }}
      env:
        {{- with .Values.logLevel }}
        - name: RUST_LOG
          value: {{ . | quote }}
        {{- end }}
        {{- with .Values.extraEnv }}{{ toYaml . | nindent 8 }}{{- end }}
      {{- end }}
      ports:
        - name: http
          containerPort: {{ .Values.http.port }}
        {{- if eq .Values.mode "bridge" }}
        - name: quic
          containerPort: {{ .Values.bridge.quicPort }}
          protocol: UDP
        {{- else }}
        {{- if .Values.receiver.enabled }}
        - name: receiver
          containerPort: {{ .Values.receiver.port }}
        {{- end }}
        {{- if .Values.stream.enabled }}
        - name: stream
          containerPort: {{ .Values.stream.port }}
        {{- end }}
        {{- end }}
      livenessProbe:
        httpGet:
          path: /healthz
          port: http
          scheme: {{ upper .Values.http.scheme }}
        {{- toYaml .Values.probes.liveness | nindent 8 }}
      readinessProbe:
        httpGet:
          path: /readyz
          port: http
          scheme: {{ upper .Values.http.scheme }}
        {{- toYaml .Values.probes.readiness | nindent 8 }}
      resources: {{- toYaml .Values.resources | nindent 8 }}
      securityContext: {{- toYaml .Values.securityContext | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/exporter-proxy
          readOnly: true
        {{- if or .Values.persistence.enabled (eq .Values.mode "bridge") }}
        - name: state
          mountPath: /var/lib/exporter-proxy
        {{- end }}
        {{- if include "exporter-proxy.keyed" . }}
        - name: keys
          mountPath: /run/secrets/exporter-proxy
          readOnly: true
        {{- end }}
        {{- if and .Values.cluster.enabled .Values.cluster.passwordSecret }}
        - name: engine
          mountPath: /run/secrets/exporter-proxy-engine
          readOnly: true
        {{- end }}
        {{- if .Values.http.webConfigSecret }}
        - name: web
          mountPath: /run/secrets/exporter-proxy-web
          readOnly: true
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "exporter-proxy.fullname" . }}
    {{- if and (eq .Values.mode "bridge") (not .Values.persistence.enabled) }}
    - name: state
      emptyDir: {}
    {{- end }}
    {{- if include "exporter-proxy.keyed" . }}
    - name: keys
      secret:
        secretName: {{ required "p2p.existingSecret: a Secret with the keys \"key\" and \"secret\" is needed for links" .Values.p2p.existingSecret }}
        defaultMode: 0440
    {{- end }}
    {{- if and .Values.cluster.enabled .Values.cluster.passwordSecret }}
    - name: engine
      secret:
        secretName: {{ .Values.cluster.passwordSecret }}
        defaultMode: 0440
    {{- end }}
    {{- if .Values.http.webConfigSecret }}
    - name: web
      secret:
        secretName: {{ .Values.http.webConfigSecret }}
        defaultMode: 0440
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
