{{- define "exporter-proxy.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "exporter-proxy.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "exporter-proxy.serviceName" -}}
{{- default (include "exporter-proxy.fullname" .) .Values.serviceName -}}
{{- end }}

{{- define "exporter-proxy.namespace" -}}
{{- default .Release.Namespace .Values.serviceNamespace -}}
{{- end }}

{{- define "exporter-proxy.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "exporter-proxy.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "exporter-proxy.selectorLabels" -}}
app.kubernetes.io/name: {{ include "exporter-proxy.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "exporter-proxy.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "exporter-proxy.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: {{ .Values.mode }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* True where several proxies share their apps, or several bridges their aliases. */}}
{{- define "exporter-proxy.clustered" -}}
{{- if .Values.cluster.enabled -}}
{{- if and (ne .Values.mode "bridge") .Values.useExplicitTimestamps -}}{{- fail "useExplicitTimestamps: events of replicas have no common order, and Prometheus refuses samples out of order; set it to false with cluster.enabled" -}}{{- end -}}
{{- if and (ne .Values.mode "bridge") .Values.p2p.enabled -}}{{- fail "cluster.enabled: replicas would share the key of p2p, which belongs to one process" -}}{{- end -}}
true
{{- end -}}
{{- end }}

{{/* True where the pod uses the key in the Secret: two pods must not run with one key, but for bridges that share their aliases. */}}
{{- define "exporter-proxy.keyed" -}}
{{- if or (eq .Values.mode "bridge") .Values.p2p.enabled -}}true{{- end -}}
{{- end }}

{{- define "exporter-proxy.stateful" -}}
{{- if or .Values.persistence.enabled (include "exporter-proxy.keyed" .) -}}true{{- end -}}
{{- end }}

{{/*
config.toml: the chart's settings with .Values.config over them. Helm reads every number as a float, and TOML distinguishes
5000 from 5000.0, so whole numbers become integers before they are written.
*/}}
{{- define "exporter-proxy.config" -}}
{{- $config := dict -}}
{{- if eq .Values.mode "bridge" -}}
{{- $_ := set $config "bridge" (dict
      "http_listen" (printf "[::]:%d" (int .Values.http.port))
      "quic_listen" (printf "0.0.0.0:%d" (int .Values.bridge.quicPort))
      "hyperdht" .Values.bridge.hyperdht
      "key_file" "/run/secrets/exporter-proxy/key"
      "secret_file" "/run/secrets/exporter-proxy/secret"
      "targets_file" "/var/lib/exporter-proxy/targets.json") -}}
{{- else -}}
{{- $receiver := dict "receive_on_unix_socket" false "receive_on_tcp_socket" .Values.receiver.enabled -}}
{{- if .Values.receiver.enabled -}}
{{- $_ := set $receiver "receiver_tcp_socket" (printf "[::]:%d" (int .Values.receiver.port)) -}}
{{- end -}}
{{- $_ := set $config "receiver" $receiver -}}
{{- $_ := set $config "exporter" (dict "scrape_expose_endpoint" (printf "[::]:%d" (int .Values.http.port))) -}}
{{- $_ := set $config "http" (dict "write_from" (concat (list "127.0.0.0/8" "::1/128") .Values.http.writeFrom)) -}}
{{- $_ := set $config "events" (dict "use_explicit_timestamps" .Values.useExplicitTimestamps) -}}
{{- if .Values.persistence.enabled -}}
{{- $_ := set $config "store" (dict "path" "/var/lib/exporter-proxy/store") -}}
{{- end -}}
{{- if .Values.stream.enabled -}}
{{- $_ := set $config "stream" (dict "listen_addresses" (list (printf "[::]:%d" (int .Values.stream.port)))) -}}
{{- end -}}
{{- if .Values.p2p.enabled -}}
{{- $p2p := dict "enabled" true "bridges" .Values.p2p.bridges
      "key_file" "/run/secrets/exporter-proxy/key" "secret_file" "/run/secrets/exporter-proxy/secret" -}}
{{- if .Values.p2p.alias -}}{{- $_ := set $p2p "alias" .Values.p2p.alias -}}{{- end -}}
{{- $_ := set $config "p2p" $p2p -}}
{{- end -}}
{{- end -}}
{{- if include "exporter-proxy.clustered" . -}}
{{- $cluster := dict "url" (required "cluster.url: replicas need an engine, such as redis://engine:6379" .Values.cluster.url) -}}
{{- if .Values.cluster.passwordSecret -}}{{- $_ := set $cluster "password_file" "/run/secrets/exporter-proxy-engine/password" -}}{{- end -}}
{{- $_ := set $config "cluster" $cluster -}}
{{- $_ := set $config "events" (dict "enabled" (and (ne .Values.mode "bridge") .Values.persistence.enabled)) -}}
{{- end -}}
{{- if .Values.http.webConfigSecret -}}
{{- $http := default (dict) (get $config "http") -}}
{{- $_ := set $http "web_config_file" "/run/secrets/exporter-proxy-web/web.yml" -}}
{{- $_ := set $config "http" $http -}}
{{- end -}}
{{- $config = mustMergeOverwrite $config (deepCopy .Values.config) -}}
{{- $http := get $config "http" | default dict -}}
{{- if and (hasKey $http "access") (not (hasKey (get .Values.config "http" | default dict) "write_from")) -}}
{{- /* The tables replace the chart's own value; beside them it would be an error. */ -}}
{{- $_ := unset $http "write_from" -}}
{{- end -}}
{{- range $section := values $config -}}
{{- range $table := ternary (list $section) $section (kindIs "map" $section) -}}
{{- range $key, $value := $table -}}
{{- if kindIs "float64" $value -}}
{{- if eq (floor $value) $value -}}{{- $_ := set $table $key (int64 $value) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toToml $config -}}
{{- end }}
