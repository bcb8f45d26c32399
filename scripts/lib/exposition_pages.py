"""Expositions in the shapes of well-known exporters and client libraries, and of the corners of both formats.

Every page is text that some Prometheus accepts, but for CRLF, which none does. `{-5s}` in a page is replaced by the time
of five seconds ago in the unit of its format: milliseconds in the text format, seconds in OpenMetrics.
"""

import dataclasses
import re

TEXT = "text/plain; version=0.0.4; charset=utf-8"
UTF8 = "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclasses.dataclass(frozen=True)
class Page:
    """An exposition and the properties that the comparison needs."""

    name: str
    body: bytes
    kind: str = TEXT
    # Why a push of it is refused although Prometheus takes the page, or a poll.
    not_pushed: str = ""
    not_polled: str = ""
    # Why samples are left out, or exemplars, or why Prometheus 3 would spell its bounds otherwise.
    left_out: str = ""
    no_exemplars: str = ""
    bounds_as_they_are: str = ""

    def exceptions(self):
        """The justified differences, as texts."""
        return [text for text in (self.not_pushed, self.not_polled, self.left_out, self.no_exemplars, self.bounds_as_they_are) if text]


PAGES = []

COMMENTS = "a text without a sample and with words in a comment is refused, because its samples were lost on the way"
UNTYPED = "what is not legal OpenMetrics goes out untyped, with its bounds as they are"


def page(name, text, kind=TEXT, **more):
    body = text if isinstance(text, bytes) else text.encode()
    PAGES.append(Page(name, body, kind, **more))


def openmetrics(name, text, **more):
    page(name, text + "# EOF\n", OPENMETRICS, **more)


def at_time(page, now):
    """The body of a page with its times filled in, where `now` is in milliseconds."""

    def fill(found):
        millis = now - 1000 * int(found.group(1))
        return str(millis if page.kind.startswith("text/") else f"{millis // 1000}.{millis % 1000:03}").encode()

    return re.sub(rb"\{-(\d+)s\}", fill, page.body)


def family(name, kind, helped, *samples):
    """A family in the usual layout: HELP, TYPE and its samples."""
    lines = [f"# HELP {name} {helped}"] if helped is not None else []
    return "\n".join([*lines, f"# TYPE {name} {kind}", *samples, ""])


def histogram(name, helped, labels, bounds, step=3, total=17.25, om=False):
    """A classic histogram whose buckets grow by `step`."""
    inner = f"{labels}," if labels else ""
    outer = f"{{{labels}}}" if labels else ""
    rows = [f'{name}_bucket{{{inner}le="{bound}"}} {n * step}' for n, bound in enumerate([*bounds, "+Inf"])]
    rows += [f"{name}_sum{outer} {total}", f"{name}_count{outer} {len(bounds) * step}"]
    return family(name, "histogram", helped, *rows)


def summary(name, helped, labels, values, space=""):
    """A summary with these values by quantile."""
    inner = f"{labels}," if labels else ""
    outer = f"{{{labels}}}" if labels else ""
    rows = [f'{name}{space}{{{inner}quantile="{quantile}"}} {value}' for quantile, value in values.items()]
    return family(name, "summary", helped, *rows, f"{name}_sum{outer} 9.5", f"{name}_count{outer} 42")


SECONDS = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10"]
QUANTILES = {"0": "1.9e-05", "0.25": "3.1e-05", "0.5": "4.2e-05", "0.75": "6.3e-05", "1": "0.001024"}


# ---------------------------------------------------------------------------------------------------------- client libraries

page(
    "client Go, text",
    summary("go_gc_duration_seconds", "A summary of the pause duration of garbage collection cycles.", "", QUANTILES)
    + family("go_goroutines", "gauge", "Number of goroutines that currently exist.", "go_goroutines 34")
    + family("go_info", "gauge", "Information about the Go environment.", 'go_info{version="go1.22.1"} 1')
    + family("go_memstats_alloc_bytes_total", "counter", "Total number of bytes allocated.", "go_memstats_alloc_bytes_total 3.0289416e+07")
    + family("process_start_time_seconds", "gauge", "Start time of the process.", "process_start_time_seconds 1.69902351784e+09")
    + family("process_virtual_memory_max_bytes", "gauge", "Maximum amount.", "process_virtual_memory_max_bytes 1.8446744073709552e+19")
    + histogram("http_request_duration_seconds", "Latency of requests.", 'code="200",method="get"', SECONDS)
    + family(
        "promhttp_metric_handler_requests_total", "counter", "Total number of scrapes by HTTP status code.",
        *(f'promhttp_metric_handler_requests_total{{code="{code}"}} {n}' for n, code in enumerate((200, 500, 503))),
    ),
)
openmetrics(
    "client Go, OpenMetrics with exemplars and created",
    "# HELP http_requests Number of requests.\n# TYPE http_requests counter\n"
    'http_requests_total{code="200"} 1027.0 # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 1.0 {-9s}\n'
    'http_requests_created{code="200"} 1.699023517e+09\n'
    "# HELP rpc_durations_histogram_seconds RPC latency distributions.\n# TYPE rpc_durations_histogram_seconds histogram\n"
    'rpc_durations_histogram_seconds_bucket{le="0.0"} 5\n'
    'rpc_durations_histogram_seconds_bucket{le="0.00109"} 14 # {dummyID="9818"} 0.00078 {-4s}\n'
    'rpc_durations_histogram_seconds_bucket{le="+Inf"} 20\n'
    "rpc_durations_histogram_seconds_sum 0.0025\nrpc_durations_histogram_seconds_count 20\n"
    "rpc_durations_histogram_seconds_created 1.6990235e+09\n",
)
page(
    "client Java, simpleclient",
    family("jvm_info", "gauge", "VM version info", 'jvm_info{runtime="OpenJDK",vendor="Debian",version="17.0.9+9-Debian-1deb12u1",} 1.0')
    + family("jvm_threads_state", "gauge", "Current count of threads by state", 'jvm_threads_state{state="NEW",} 0.0', 'jvm_threads_state{state="RUNNABLE",} 11.0')
    + family("jvm_gc_collection_seconds", "summary", "Time spent in a given JVM garbage collector in seconds.",
             'jvm_gc_collection_seconds_count{gc="G1 Young Generation",} 53.0', 'jvm_gc_collection_seconds_sum{gc="G1 Young Generation",} 0.351')
    + family("jvm_memory_pool_bytes_max", "gauge", "Max bytes of a given JVM memory pool.", 'jvm_memory_pool_bytes_max{pool="Metaspace",} -1.0')
    + family("requests_total", "counter", "Requests.", 'requests_total{path="/",} 7.0')
    + family("requests_created", "gauge", "Requests.", 'requests_created{path="/",} 1.699023517283E9'),
)
openmetrics(
    "client Java 1.x, OpenMetrics",
    "# TYPE jvm_runtime info\n# HELP jvm_runtime JVM runtime info\n"
    'jvm_runtime_info{runtime="OpenJDK Runtime Environment",vendor="Debian",version="21+35"} 1\n'
    "# TYPE service_time_seconds summary\n# UNIT service_time_seconds seconds\n# HELP service_time_seconds total time serving a request\n"
    'service_time_seconds{http_method="GET",quantile="0.5"} 0.03162\nservice_time_seconds{http_method="GET",quantile="0.999"} NaN\n'
    'service_time_seconds_count{http_method="GET"} 4\nservice_time_seconds_sum{http_method="GET"} 0.13\n'
    'service_time_seconds_created{http_method="GET"} 1699023517.283\n'
    "# TYPE feature_flags stateset\n# HELP feature_flags Feature flags\n"
    'feature_flags{env="dev",feature_flags="feature1"} 1\nfeature_flags{env="dev",feature_flags="feature2"} 0\n',
)
page(
    "micrometer",
    "# HELP http_server_requests_seconds  \n# TYPE http_server_requests_seconds summary\n"
    'http_server_requests_seconds_count{error="none",exception="none",method="GET",outcome="SUCCESS",status="200",uri="/api/{id}",} 3.0\n'
    'http_server_requests_seconds_sum{error="none",exception="none",method="GET",outcome="SUCCESS",status="200",uri="/api/{id}",} 0.0528\n'
    "# HELP http_server_requests_seconds_max  \n# TYPE http_server_requests_seconds_max gauge\n"
    'http_server_requests_seconds_max{error="none",exception="none",method="GET",outcome="SUCCESS",status="200",uri="/api/{id}",} 0.0483\n'
    "# HELP jvm_memory_used_bytes The amount of used memory\n# TYPE jvm_memory_used_bytes gauge\n"
    'jvm_memory_used_bytes{area="heap",id="G1 Survivor Space",} 8388608.0\njvm_memory_used_bytes{area="nonheap",id="CodeHeap \'non-nmethods\'",} 1.3E6\n'
    "# HELP logback_events_total Number of log events\n# TYPE logback_events_total counter\n"
    'logback_events_total{level="warn",} 0.0\n# HELP hikaricp_connections_pending Pending threads\n# TYPE hikaricp_connections_pending gauge\n'
    'hikaricp_connections_pending{pool="HikariPool-1",} NaN\n',
)
page(
    "client Python, text",
    "# HELP python_gc_objects_collected_total Objects collected during gc\n# TYPE python_gc_objects_collected_total counter\n"
    'python_gc_objects_collected_total{generation="0"} 352.0\n'
    '# HELP python_info Python platform information\n# TYPE python_info gauge\npython_info{implementation="CPython",major="3",version="3.11.2"} 1.0\n'
    "# HELP request_latency_seconds Description of histogram\n# TYPE request_latency_seconds histogram\n"
    'request_latency_seconds_bucket{le="0.005"} 0.0\nrequest_latency_seconds_bucket{le="1.0"} 1.0\nrequest_latency_seconds_bucket{le="+Inf"} 2.0\n'
    "request_latency_seconds_count 2.0\nrequest_latency_seconds_sum 4.7\n"
    "# HELP request_latency_seconds_created Description of histogram\n# TYPE request_latency_seconds_created gauge\n"
    "request_latency_seconds_created 1.699023517283e+09\n"
    '# HELP my_task_state Current state\n# TYPE my_task_state gauge\nmy_task_state{my_task_state="starting"} 0.0\nmy_task_state{my_task_state="running"} 1.0\n',
)
openmetrics(
    "client Python, OpenMetrics",
    "# HELP my_task_state Current state\n# TYPE my_task_state stateset\n"
    'my_task_state{my_task_state="starting"} 0.0\nmy_task_state{my_task_state="running"} 1.0\n'
    '# HELP build Build\n# TYPE build info\nbuild_info{branch="HEAD",version="1.2.3"} 1.0\n'
    "# HELP my_requests_bytes Bytes\n# TYPE my_requests_bytes counter\n# UNIT my_requests_bytes bytes\n"
    'my_requests_bytes_total{path="/"} 3.0 # {trace_id="abc123"} 1.0 {-7s}\nmy_requests_bytes_created{path="/"} 1.6990235e+09\n'
    "# HELP queue Sizes\n# TYPE queue gaugehistogram\nqueue_bucket{le=\"1.0\"} 4.0\nqueue_bucket{le=\"+Inf\"} 9.0\nqueue_gcount 9.0\nqueue_gsum 31.5\n",
)
page(
    "client Rust, prometheus",
    family("tokio_workers", "gauge", "Number of workers", "tokio_workers 2")
    + histogram("handler_seconds", "Time", 'route="/a/:id"', ["0.1", "1", "10"])
    + family("bytes_total", "counter", "Bytes", 'bytes_total{dir="in"} 18446744073709551615'),
)
openmetrics(
    "client Rust, prometheus-client",
    '# HELP http_requests Number of HTTP requests received.\n# TYPE http_requests counter\nhttp_requests_total{method="GET",path="/metrics"} 1\n'
    "# HELP latency_seconds Latency.\n# TYPE latency_seconds histogram\n# UNIT latency_seconds seconds\nlatency_seconds_sum 1.5\nlatency_seconds_count 2\n"
    'latency_seconds_bucket{le="0.5"} 1\nlatency_seconds_bucket{le="1.0"} 2\nlatency_seconds_bucket{le="1.7976931348623157e+308"} 2\n'
    'latency_seconds_bucket{le="+Inf"} 2 # {span="9"} 0.4\n',
)
page(
    "client Node, prom-client",
    "# HELP process_cpu_user_seconds_total Total user CPU time spent in seconds.\n# TYPE process_cpu_user_seconds_total counter\n"
    "process_cpu_user_seconds_total 0.041234000000000005\n\n"
    "# HELP nodejs_version_info Node.js version info.\n# TYPE nodejs_version_info gauge\n"
    'nodejs_version_info{version="v18.19.0",major="18",minor="19",patch="0"} 1\n\n'
    "# HELP nodejs_gc_duration_seconds Garbage collection duration by kind.\n# TYPE nodejs_gc_duration_seconds histogram\n"
    'nodejs_gc_duration_seconds_bucket{le="0.001",kind="minor"} 1\nnodejs_gc_duration_seconds_bucket{le="5",kind="minor"} 2\n'
    'nodejs_gc_duration_seconds_bucket{le="+Inf",kind="minor"} 2\nnodejs_gc_duration_seconds_sum{kind="minor"} 0.0021\n'
    'nodejs_gc_duration_seconds_count{kind="minor"} 2\n\n# HELP unset A metric without values\n# TYPE unset gauge\n',
)
page(
    "client .NET, prometheus-net",
    "# HELP process_open_handles Number of open handles\n# TYPE process_open_handles gauge\nprocess_open_handles 232\n"
    "# HELP dotnet_collection_count_total GC collection count\n# TYPE dotnet_collection_count_total counter\n"
    'dotnet_collection_count_total{generation="1"} 0\ndotnet_collection_count_total{generation="0"} 1\n',
)
page(
    "client PHP",
    "# HELP php_info Information about the PHP environment.\n# TYPE php_info gauge\nphp_info{version=\"8.2.7\"} 1\n"
    "# HELP app_h a histogram\n# TYPE app_h histogram\napp_h_bucket{le=\"0.1\"} 0\napp_h_bucket{le=\"1\"} 1\napp_h_bucket{le=\"+Inf\"} 1\napp_h_count 1\napp_h_sum 0.5\n",
)
page("client Ruby", '# TYPE http_server_requests_total counter\n# HELP http_server_requests_total The total number of HTTP requests.\nhttp_server_requests_total{code="200",method="get",path="/"} 2.0\n')
page(
    "Erlang, rabbitmq",
    "# TYPE rabbitmq_identity_info untyped\n# HELP rabbitmq_identity_info RabbitMQ node & cluster identity info\n"
    'rabbitmq_identity_info{rabbitmq_node="rabbit@host",rabbitmq_cluster="rabbit@host"} 1\n'
    "# TYPE telemetry_scrape_size_bytes summary\n# HELP telemetry_scrape_size_bytes Scrape size, not encoded\n"
    'telemetry_scrape_size_bytes_count{registry="default",content_type="text/plain; version=0.0.4"} 2\n'
    'telemetry_scrape_size_bytes_sum{registry="default",content_type="text/plain; version=0.0.4"} 74214\n',
)


# ------------------------------------------------------------------------------------------------------------------ exporters


def envoy():
    rows = ["# TYPE envoy_cluster_upstream_cx_total counter"]
    rows += [f'envoy_cluster_upstream_cx_total{{envoy_cluster_name="outbound|80||svc-{n}.ns.svc.cluster.local"}} {n}' for n in range(300)]
    rows += ["# TYPE envoy_cluster_upstream_cx_connect_ms histogram"]
    for n in range(20):
        label = f'envoy_cluster_name="c{n}"'
        bounds = ["0.5", "1", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "10000", "30000", "60000", "300000", "600000", "1800000", "3600000"]
        rows += [f'envoy_cluster_upstream_cx_connect_ms_bucket{{{label},le="{bound}"}} {n}' for bound in [*bounds, "+Inf"]]
        rows += [f"envoy_cluster_upstream_cx_connect_ms_sum{{{label}}} {n}.05", f"envoy_cluster_upstream_cx_connect_ms_count{{{label}}} {n}"]
        rows += [""]
    rows += ["# TYPE envoy_server_live gauge", "envoy_server_live{} 1", "", "# TYPE envoy_server_uptime gauge", "envoy_server_uptime{} 31", ""]
    return "\n".join(rows)


def cadvisor():
    cpu, seen, info = [], [], []
    for n in range(400):
        label = (f'container="c{n % 7}",cpu="total",id="/kubepods.slice/pod{n:08x}.scope",image="registry.k8s.io/app@sha256:{n:064x}",'
                 f'name="{n:064x}",namespace="ns-{n % 20}",pod="app-{n}"')
        cpu.append(f"container_cpu_usage_seconds_total{{{label}}} {n * 1.25} {{-{5 + n % 11}s}}")
        seen.append(f"container_last_seen{{{label}}} 1.699023517e+09 {{-{5 + n % 11}s}}")
    info.append('cadvisor_version_info{cadvisorRevision="",cadvisorVersion="",dockerVersion="",kernelVersion="6.1.0",osVersion="Debian GNU/Linux 12"} 1')
    return (
        family("cadvisor_version_info", "gauge", "A metric with a constant '1' value labeled by kernel version, OS version.", *info)
        + family("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", *cpu)
        + family("container_last_seen", "gauge", "Last time a container was seen by the exporter", *seen)
        + family("container_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise", "container_scrape_error 0")
    )


def kubelet():
    return (
        histogram("apiserver_audit_requests_rejected_seconds", "[ALPHA] Latency.", "", ["0.001", "0.002", "0.004"])
        + family("kubelet_node_name", "gauge", "[ALPHA] The node's name. The count is always 1.", 'kubelet_node_name{node="worker-1"} 1')
        + family("kubernetes_feature_enabled", "gauge", "[BETA] This metric records the data about the stage and enablement of a k8s feature.",
                 *(f'kubernetes_feature_enabled{{name="Feature{n}",stage="{("", "ALPHA", "BETA", "DEPRECATED")[n % 4]}"}} {n % 2}' for n in range(120)))
        + family("volume_manager_total_volumes", "gauge", "[ALPHA] Number of volumes",
                 'volume_manager_total_volumes{plugin_name="kubernetes.io/configmap",state="actual_state_of_world"} 5')
    )


page("envoy", envoy())
page("cadvisor, with timestamps", cadvisor())
page("kubelet", kubelet())
page(
    "kube-state-metrics",
    "# HELP kube_pod_info [STABLE] Information about pod.\n# TYPE kube_pod_info gauge\n"
    'kube_pod_info{namespace="default",pod="web-0",uid="ab-cd",host_ip="10.0.0.1",pod_ip="",node="",created_by_kind="<none>",priority_class=""} 1\n'
    "# HELP kube_pod_owner [STABLE] Information about the Pod's owner.\n# TYPE kube_pod_owner gauge\n"
    "# HELP kube_pod_labels [STABLE] Kubernetes labels converted to Prometheus labels.\n# TYPE kube_pod_labels gauge\n"
    'kube_pod_labels{namespace="default",pod="web-0",label_app_kubernetes_io_name="a\\"b\\\\c\\nd"} 1\n'
    "# HELP kube_pod_created [STABLE] Unix creation timestamp\n# TYPE kube_pod_created gauge\nkube_pod_created{namespace=\"default\",pod=\"web-0\"} 1.699023517e+09\n",
)
openmetrics(
    "kube-state-metrics, its OpenMetrics",
    "# HELP kube_configmap_info [STABLE] Information about configmap.\n# TYPE kube_configmap_info info\n"
    'kube_configmap_info{namespace="kube-system",configmap="coredns"} 1\n'
    "# HELP kube_node_status_phase Phase.\n# TYPE kube_node_status_phase stateset\nkube_node_status_phase{node=\"n1\",kube_node_status_phase=\"Running\"} 1\n",
)
page(
    "windows_exporter",
    family("windows_cpu_time_total", "counter", "Time that processor spent in different modes",
           *(f'windows_cpu_time_total{{core="0,{core}",mode="{mode}"}} {core}.359375' for core in range(4) for mode in ("dpc", "idle", "user")))
    + family("windows_os_info", "gauge", "OperatingSystem.Caption, OperatingSystem.Version",
             'windows_os_info{build_number="20348",product="Microsoft Windows Server 2022 Datacenter",version="10.0.20348"} 1')
    + family("windows_service_info", "gauge", "A metric with a constant '1' value labeled with service information",
             'windows_service_info{display_name="Windows Time",name="w32time",process_id="1020",run_as="NT AUTHORITY\\\\LocalService"} 1')
    + family("windows_logical_disk_free_bytes", "gauge", "Free space", 'windows_logical_disk_free_bytes{volume="C:"} 9.8784247808e+10',
             'windows_logical_disk_free_bytes{volume="\\\\\\\\?\\\\Volume{b75e}\\\\"} 1')
    + family("windows_textfile_mtime_seconds", "gauge", "Unixtime mtime of textfiles.", 'windows_textfile_mtime_seconds{file="C:\\Program Files\\x.prom"} 1.7e+09'),
)
page(
    "JMX exporter, kafka",
    "# HELP kafka_server_BrokerTopicMetrics_OneMinuteRate Attribute exposed for management kafka.server:name=BytesInPerSec,type=BrokerTopicMetrics,attribute=OneMinuteRate\n"
    "# TYPE kafka_server_BrokerTopicMetrics_OneMinuteRate untyped\n"
    'kafka_server_BrokerTopicMetrics_OneMinuteRate{name="BytesInPerSec",topic="__consumer_offsets",} 4.940656E-324\n'
    'kafka_server_BrokerTopicMetrics_OneMinuteRate{name="MessagesInPerSec",} 2.964393875E-314\n'
    "# HELP java_lang_MemoryPool_Usage_max java.lang:name=CodeHeap 'profiled nmethods',type=MemoryPool,attribute=max\n# TYPE java_lang_MemoryPool_Usage_max untyped\n"
    'java_lang_MemoryPool_Usage_max{name="CodeHeap \'profiled nmethods\'",} 1.22908672E8\n'
    "# HELP jmx_scrape_duration_seconds Time this JMX scrape took, in seconds.\n# TYPE jmx_scrape_duration_seconds gauge\njmx_scrape_duration_seconds 0.0417\n",
)
page(
    "geth",
    "# TYPE chain_account_commits gauge\nchain_account_commits 15\n\n"
    '# TYPE chain_execution summary\nchain_execution {quantile="0.5"} 5.612e+06\nchain_execution {quantile="0.9999"} 9.1e+06\nchain_execution_count 42\n\n'
    "# TYPE p2p_peers gauge\np2p_peers 32\n\n# TYPE rpc_count counter\nrpc_count 0\n\n# TYPE system_cpu_procload gauge\nsystem_cpu_procload 0.333333\n\n"
    '# TYPE geth_info gauge\ngeth_info {arch="amd64", os="linux", version="1.13.5-stable"} 1\n\n',
)
page(
    "lighthouse",
    histogram("beacon_attestation_processing_seconds", "Full runtime of attestation processing", "", SECONDS)
    + family("beacon_head_state_finalized_root", "gauge", "Root of the finalized block", "beacon_head_state_finalized_root -3519480541387213000")
    + family("libp2p_peers", "gauge", "Count of libp2p peers", "libp2p_peers 57"),
)
page(
    "IPFS kubo",
    family("ipfs_info", "gauge", "IPFS version information.", 'ipfs_info{commit="",version="0.24.0"} 1')
    + family("ipfs_p2p_peers_total", "gauge", "Number of connected peers", 'ipfs_p2p_peers_total{transport="/ip4/tcp"} 12', 'ipfs_p2p_peers_total{transport="/ip6/udp/quic-v1"} 99')
    + summary("ipfs_http_request_duration_seconds", "The HTTP request latencies in seconds.", 'handler="gateway"', {"0.5": "NaN", "0.99": "NaN"}),
)
page(
    "haproxy, built in",
    "# HELP haproxy_process_nbthread Number of started threads\n# TYPE haproxy_process_nbthread gauge\nhaproxy_process_nbthread 2\n"
    "# HELP haproxy_backend_status Current status\n# TYPE haproxy_backend_status gauge\n"
    'haproxy_backend_status{proxy="app",state="DOWN"} 0\nhaproxy_backend_status{proxy="app",state="UP"} 1\n'
    "# HELP haproxy_server_check_duration_seconds x\n# TYPE haproxy_server_check_duration_seconds gauge\n"
    'haproxy_server_check_duration_seconds{proxy="app",server="s1"} NaN\n',
)
page(
    "traefik",
    family("traefik_config_last_reload_success", "gauge", "Last config reload success", "traefik_config_last_reload_success 1.699023517e+09")
    + histogram("traefik_entrypoint_request_duration_seconds", "How long it took", 'code="200",entrypoint="web",method="GET",protocol="http"', ["0.1", "0.3", "1.2", "5"]),
)
page("etcd", histogram("etcd_disk_wal_fsync_duration_seconds", "The latency distributions of fsync called by WAL.", "", ["0.001", "0.002", "0.004", "0.008", "8.192"])
     + family("etcd_server_has_leader", "gauge", "Whether or not a leader exists. 1 is existence, 0 is not.", "etcd_server_has_leader 1")
     + family("grpc_server_handled_total", "counter", "Total number of RPCs", *(
         f'grpc_server_handled_total{{grpc_code="{code}",grpc_method="Range",grpc_service="etcdserverpb.KV",grpc_type="unary"}} 0' for code in ("OK", "Aborted", "Unknown"))))
page("coredns", histogram("coredns_dns_request_size_bytes", "Size of the EDNS0 UDP buffer", 'proto="udp",server="dns://:53",view="",zone="."', ["0", "100", "200", "64000"])
     + family("coredns_build_info", "gauge", "A metric with a constant '1' value", 'coredns_build_info{goversion="go1.21",revision="055b2c3",version="1.11.1"} 1'))
page("linkerd2 proxy", '# HELP request_total Total count of HTTP requests.\n# TYPE request_total counter\nrequest_total{direction="outbound",target_addr="10.0.0.9:80",tls="no_identity",no_tls_reason="not_provided"} 4\n'
     + histogram("response_latency_ms", "Elapsed times", 'direction="inbound"', ["1", "2", "3", "4", "5", "10", "50000"]))
page("consul, go-metrics", summary("consul_acl_ResolveToken", "This measures the time", "", {"0.5": "NaN", "0.9": "NaN", "0.99": "NaN"})
     + family("consul_raft_apply", "counter", "Raft", "consul_raft_apply 0") + family("consul_autopilot_healthy", "gauge", "healthy", "consul_autopilot_healthy NaN"))
page("clickhouse", "# HELP ClickHouseProfileEvents_Query Number of queries to be interpreted and potentially executed.\n# TYPE ClickHouseProfileEvents_Query counter\n"
     "ClickHouseProfileEvents_Query 12\n# HELP ClickHouseAsyncMetrics_Jitter \n# TYPE ClickHouseAsyncMetrics_Jitter gauge\nClickHouseAsyncMetrics_Jitter 0.000078\n")
page("minio", '# HELP minio_cluster_nodes_online_total Total number of MinIO nodes online\n# TYPE minio_cluster_nodes_online_total gauge\nminio_cluster_nodes_online_total{server="127.0.0.1:9000"} 1\n'
     '# HELP minio_s3_ttfb_seconds_distribution Distribution\n# TYPE minio_s3_ttfb_seconds_distribution gauge\nminio_s3_ttfb_seconds_distribution{api="GetObject",le="0.05",server="a"} 1\n'
     'minio_s3_ttfb_seconds_distribution{api="GetObject",le="1",server="a"} 1\nminio_s3_ttfb_seconds_distribution{api="GetObject",le="+Inf",server="a"} 1\n')
page("ceph", "\n# HELP ceph_health_status Cluster health status\n# TYPE ceph_health_status untyped\nceph_health_status 0.0\n"
     '# HELP ceph_osd_metadata OSD Metadata\n# TYPE ceph_osd_metadata untyped\nceph_osd_metadata{back_iface="",ceph_daemon="osd.0",device_class="hdd"} 1.0\n')
page("postgres_exporter", family("pg_stat_database_tup_fetched", "counter", "Number of rows fetched by queries in this database", 'pg_stat_database_tup_fetched{datid="1",datname="template1",server="/var/run/postgresql/:5432"} 0')
     + family("pg_settings_log_destination", "gauge", "Server Parameter: log_destination", "pg_settings_log_destination NaN")
     + family("pg_static", "untyped", "Version string as reported by postgres", 'pg_static{short_version="15.5.0",version="PostgreSQL 15.5 (Debian 15.5-0+deb12u1), 64-bit"} 1'))
page("mysqld_exporter", family("mysql_info_schema_processlist_threads", "gauge", "The number of threads split by current state.", 'mysql_info_schema_processlist_threads{command="",state="after create"} 0')
     + histogram("mysql_info_schema_query_response_time_seconds", "The number of all queries by duration they took to execute.", "", ["1e-06", "1e-05", "0.0001", "0.001", "1", "10", "100000", "1e+06"])
     + family("mysql_global_variables_max", "gauge", "Generic gauge metric", "mysql_global_variables_max 1.8446744073709552e+19"))
page("redis_exporter", family("redis_instance_info", "gauge", "Information about the Redis instance", 'redis_instance_info{maxmemory_policy="noeviction",os="Linux 6.1.0 x86_64",role="master"} 1')
     + summary("redis_commands_latencies_usec", "A histogram", 'cmd="config|set"', {"50": "11.007", "99": "34.047"}), bounds_as_they_are=UNTYPED)
page("blackbox probe", family("probe_dns_lookup_time_seconds", "gauge", "Returns the time taken for probe dns lookup in seconds", "probe_dns_lookup_time_seconds 0.000419")
     + family("probe_ssl_earliest_cert_expiry", "gauge", "Returns last SSL chain expiry in unixtime", "probe_ssl_earliest_cert_expiry -6.21355968e+10") + family("probe_success", "gauge", None, "probe_success 0"))
page("snmp", family("ifHCInOctets", "counter", "The total number of octets received on the interface - 1.3.6.1.2.1.31.1.1.1.6", *(
    f'ifHCInOctets{{ifAlias="",ifDescr="GigabitEthernet0/{n}",ifIndex="{n}",ifName="Gi0/{n}"}} {1.7e15 + n}' for n in range(48)))
     + family("sysDescr", "gauge", "A textual description of the entity", 'sysDescr{sysDescr="Cisco IOS Software\\r\\nTechnical Support"} 1'))
page("pushgateway", family("push_time_seconds", "gauge", "Last Unix time when changing this group in the Pushgateway succeeded.", 'push_time_seconds{instance="",job="backup"} 1.6990235e+09')
     + family("jobs_done", "untyped", None, 'jobs_done{instance="",job="backup"} 7'))
page("federation", '# TYPE up untyped\nup{instance="a:9100",job="node",prometheus="one"} 1 {-3s}\nup{instance="b:9100",job="node",prometheus="one"} 0 {-4s}\n'
     '# TYPE job:requests:rate5m untyped\njob:requests:rate5m{instance="",job="web"} 17.4 {-3s}\n')
page("telegraf, with timestamps", "# HELP cpu_usage_idle Telegraf collected metric\n# TYPE cpu_usage_idle gauge\n"
     'cpu_usage_idle{cpu="cpu0",host="h 1"} 97.3 {-8s}\ncpu_usage_idle{cpu="cpu-total",host="h 1"} 96.20000000000437 {-8s}\n')
page("statsd_exporter", summary("events_actions", "Metric autogenerated by statsd_exporter.", 'outcome="ok"', {"0.5": "0.02", "0.9": "0.3", "0.99": "1"})
     + family("statsd_exporter_lines_total", "counter", "The total number of StatsD lines received.", "statsd_exporter_lines_total 0"))
openmetrics(
    "OpenTelemetry collector",
    '# HELP target Target metadata\n# TYPE target info\ntarget_info{http_scheme="http",job="otel",service_instance_id="127.0.0.1:8888",service_name="app"} 1.0\n'
    "# HELP otelcol_exporter_sent_spans Number of spans\n# TYPE otelcol_exporter_sent_spans counter\n"
    'otelcol_exporter_sent_spans_total{exporter="otlp/2"} 5.0 # {span_id="b7ad6b7169203331",trace_id="0af7651916cd43dd8448eb211c80319c"} 1.0 {-3s}\n'
    "# HELP rpc_server_duration_milliseconds Latency\n# TYPE rpc_server_duration_milliseconds histogram\n# UNIT rpc_server_duration_milliseconds milliseconds\n"
    'rpc_server_duration_milliseconds_bucket{otel_scope_name="otelgrpc",le="0.0"} 0.0\nrpc_server_duration_milliseconds_bucket{otel_scope_name="otelgrpc",le="5.0"} 5.0\n'
    'rpc_server_duration_milliseconds_bucket{otel_scope_name="otelgrpc",le="+Inf"} 6.0\n'
    'rpc_server_duration_milliseconds_sum{otel_scope_name="otelgrpc"} 20.1\nrpc_server_duration_milliseconds_count{otel_scope_name="otelgrpc"} 6.0\n',
)


# --------------------------------------------------------------------------------------------------- corners of both formats

page("numbers", "".join(f"number{{n=\"{n}\"}} {text}\n" for n, text in enumerate([
    "NaN", "nan", "+Inf", "-Inf", "Inf", "inf", "-0", "0", "+5", ".5", "5.", "1E5", "1e-7", "1.7976931348623157e308", "5e-324", "-5e-324", "0.1", "0.30000000000000004",
    "9007199254740993", "18446744073709551615", "123456789012345678901234567890", "1e-400", "00012", "3.141592653589793238462643383279"])))
openmetrics("numbers, OpenMetrics", "# TYPE number unknown\n" + "".join(f"number{{n=\"{n}\"}} {text}\n" for n, text in enumerate(
    ["NaN", "+Inf", "-Inf", "-0.0", "0", "1.0e5", "1e-7", "1.7976931348623157e308", "5e-324", "0.30000000000000004", "9007199254740993"])))
page("bounds and quantiles in all spellings", "# TYPE spelt histogram\n" + "".join(f'spelt_bucket{{n="{bound}",le="{bound}"}} 1\n' for bound in
     ["1", "1.0", "1e0", "10", "1e1", "1e+06", "1000000", "1e6", "0.1", ".1", "1e-05", "0.00001", "-1", "-0", "0", "123456789", "+Inf"])
     + "# TYPE quantiled summary\n" + "".join(f'quantiled{{n="{quantile}",quantile="{quantile}"}} 1\n' for quantile in ["0", "0.0", "1", "1.0", "0.5", ".5", "50", "5e-1", "NaN"])
     + '# TYPE gauged gauge\ngauged{le="1",quantile="1"} 1\nuntyped_bucket{le="1"} 1\nuntyped_bucket{le="+Inf"} 2\n# TYPE counted counter\ncounted_bucket{le="2"} 1\n',
     bounds_as_they_are=UNTYPED)
page("timestamps, several", "# TYPE stamped gauge\nstamped{n=\"1\"} 1 {-60s}\nstamped{n=\"1\"} 2 {-30s}\nstamped{n=\"1\"} 3 {-10s}\nstamped{n=\"2\"} 5 {-2s}\nstamped{n=\"3\"} NaN {-2s}\nplain 1\n")
openmetrics("timestamps, OpenMetrics", "# TYPE moment gauge\nmoment{n=\"1\"} 1 {-60s}\nmoment{n=\"1\"} 2 {-30s}\nmoment{n=\"2\"} 5 {-2s}\n# TYPE late counter\nlate_total 7 {-5s}\nlate_created 1.7e9 {-5s}\n")
page("long HELP", "# HELP long " + "A sentence of help. " * 50_000 + "\n# TYPE long gauge\nlong 1\n# HELP escaped back\\\\slash, line\\nbreak, \"quotes\", \ttab\n# TYPE escaped counter\nescaped 1\n")
page("odd whitespace", '\n\n#\n# \n#comment\n# HELP spaced   three blanks\n# TYPE spaced gauge\nspaced{ a = "1" , b="2" }   1  \nspaced\t{a="2"}\t2\n'
     'spaced {a="3",}  3\nspaced{}4\n# TYPE last gauge\nlast 7')
page("no newline at the end", "# TYPE first gauge\nfirst 1\nfinal 2")
page("CRLF", "# HELP crlf Lines of Windows.\r\n# TYPE crlf gauge\r\ncrlf{a=\"1\"} 1\r\ncrlf{a=\"2\"} 2\r\n")
page("nothing", "")
page("comments alone", "# nothing to see\n# HELP x y\n# TYPE x gauge\n", not_polled=COMMENTS, not_pushed=COMMENTS)
page("label values", 'labels{v=""} 1\nlabels{v=" "} 2\nlabels{v="ünï \U0001f980 \u202eright to left"} 3\nlabels{v="a\\\\b\\"c\\nd"} 4\nlabels{v="tab\there"} 5\nlabels{v="C:\\Users\\x"} 6\n'
     'labels{v="{}=,#"} 7\nlabels{v="\x00nul"} 8\nlabels{v="\r"} 9\nlabels{v="\x7f\x1b[31m"} 10\nlabels{v="\u0000"} 11\n')
page("empty labels", 'emptied{a="",b="x"} 1\nemptied{a="y",b=""} 2\nemptied{a=""} 3\n')
page("label order", 'ordered{b="1",a="2"} 1\nordered{a="2",b="3"} 2\nordered{c="",b="1",a="1"} 3\n')
page("many labels", "many{" + ",".join(f'label_{n}="value {n}"' for n in range(60)) + "} 1\nmany{v=\"" + "x" * 65_536 + '"} 2\n')
page("reserved labels", 'reserved{__private="1"} 1\nreserved{job="mine",instance="me",app="a",exporter_app="b",exported_job="c"} 2\n')
page("names", 'a 1\n_ 2\n:colon: 3\nUPPER_lower 4\nlevel:metric:sum_rate5m 5\ninf 6\nnan 7\nle{A="1",_="2"} 8\nhelp 9\ntype_total 10\nx_created 11\nx_info 12\nx_bucket 13\nx_count 14\nx_sum 15\n')
page("types and names that clash", '# TYPE h gauge\nh 1\n# TYPE h_count gauge\nh_count 2\n# TYPE c counter\nc 3\n# TYPE c_total counter\nc_total 4\n# TYPE g_total gauge\ng_total 5\n'
     "# TYPE i_info gauge\ni_info 6\n# TYPE s summary\ns 7\n# TYPE hh histogram\nhh 8\n# TYPE u untyped\nu_total 9\n# TYPE made_created gauge\nmade_created 10\n")
page("incomplete histograms", '# TYPE one histogram\none_bucket{le="1"} 1\n# TYPE two histogram\ntwo_sum 1\n# TYPE three histogram\nthree_count 1\n# TYPE four summary\nfour{quantile="0.5"} 1\n# TYPE five histogram\n'
     'five_bucket{le="+Inf"} 3\nfive_bucket{le="1"} 1\nfive_count 4\nfive_sum -3\n# TYPE six histogram\nsix_bucket 1\n',
     bounds_as_they_are=UNTYPED)
page("bounds that are no numbers", '# TYPE worded histogram\nworded_bucket{le="x"} 1\nworded_bucket{le="1"} 1\nworded_bucket{le="+Inf"} 2\nworded_count 2\nworded_sum 1\n# TYPE wordy summary\nwordy{quantile="x"} 1\nwordy_count 1\nwordy_sum 1\n',
     not_pushed="a bound must be a number", left_out="a bound must be a number, as for the Go parser of promtool and Pushgateway")
openmetrics("histogram of negative values", "# TYPE rpc_seconds histogram\n"
    'rpc_seconds_bucket{le="-0.00099"} 0\nrpc_seconds_bucket{le="0.00109"} 14 # {dummyID="9818"} 0.00078 {-4s}\nrpc_seconds_bucket{le="+Inf"} 20\nrpc_seconds_sum 0.0025\nrpc_seconds_count 20\n',
    no_exemplars="OpenMetrics allows no sum beside negative buckets: it goes out untyped, where no exemplars are allowed")
page("families in pieces", '# TYPE a counter\na{n="1"} 1\n# TYPE b gauge\nb{n="1"} 1\na{n="2"} 2\nb{n="2"} 2\n# HELP a later\na{n="3"} 3\nc 1\n')
page("HELP and TYPE alone, late and twice", "# HELP only help\n# TYPE only gauge\nuntold 1\n# HELP twice one\n# HELP twice two\n# TYPE twice gauge\ntwice 1\n# TYPE twice counter\n# HELP untold late\n",
     not_pushed="TYPE and HELP may stand once, before the samples")
page("series twice", 'twin{a="1"} 1\ntwin{a="1"} 2\ntwin{b="1",a="1"} 3\ntwin{a="1",b="1"} 4\ntwin{c="",a="1"} 5\n', not_pushed="the same series may stand once")
page("20,000 series", "# HELP large Many.\n# TYPE large counter\n" + "".join(f'large{{n="{n}",path="/some/path/{n % 97}"}} {n * 7}\n' for n in range(20_000)))
page("counters without _total", "# TYPE plain_counter counter\nplain_counter 5\n# TYPE bytes counter\nbytes{a=\"1\"} 6\n# TYPE requests_total counter\nrequests_total 7\n# TYPE created_total counter\ncreated_total 8\n")
openmetrics("OpenMetrics, all types",
    "# TYPE g gauge\n# UNIT g_bytes bytes\n# TYPE g_bytes gauge\ng 1\ng_bytes 2\n# TYPE u unknown\nu 3\n# TYPE c counter\nc_total 4\nc_created 1.7e9\n# TYPE i info\ni_info{a=\"b\"} 1\n# TYPE s stateset\ns{s=\"on\"} 1\ns{s=\"off\"} 0\n"
    "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 3.5\nh_created 1.7e9\n# TYPE q summary\nq{quantile=\"0.5\"} 1\nq_count 1\nq_sum 1\nq_created 1.7e9\n"
    "# TYPE gh gaugehistogram\ngh_bucket{le=\"1.0\"} 1\ngh_bucket{le=\"+Inf\"} 2\ngh_gcount 2\ngh_gsum 3.5\n# TYPE e unknown\n# HELP e escaped \\n \\\\ \\\" quotes\n")
openmetrics("OpenMetrics, exemplars", "# TYPE seen counter\nseen_total{a=\"1\"} 1 # {} 0.5\nseen_total{a=\"2\"} 2 # {x=\"y\",z=\"\"} 0.5 {-3s}\nseen_total{a=\"3\"} 3 {-2s} # {x=\"\U0001f980\"} -1 {-3s}\n"
    "# TYPE seen_size histogram\nseen_size_bucket{le=\"1.0\"} 1 # {trace=\"1\"} 0.7\nseen_size_bucket{le=\"+Inf\"} 2 # {trace=\"2\"} 9 {-3s}\nseen_size_count 2\nseen_size_sum 9.7\n")
page("UTF-8 names", '# HELP "http.server.duration" Dotted.\n# TYPE "http.server.duration" gauge\n{"http.server.duration","http.method"="GET"} 1\n{"http.server.duration","http.method"="a b"} 2\n{"größe","ö"="ü"} 3\nplain{"quoted.label"="1"} 4\n{"plain"} 5\n', UTF8)
openmetrics("UTF-8 names, OpenMetrics", '# TYPE "my.gauge" gauge\n{"my.gauge","a.b"="1"} 1\n{"my.gauge"} 2\n# TYPE "my.requests" counter\n{"my.requests_total"} 3 # {"trace.id"="9"} 1\n')
page("text without a version", "# TYPE bare gauge\nbare 1\n# EOF\n", "text/plain")
page("text in capitals", "# TYPE capital gauge\ncapital 1\n", "TEXT/PLAIN; VERSION=0.0.4; CHARSET=UTF-8")
page("OpenMetrics 0.0.1", "# TYPE old counter\nold_total 1\n# EOF\n", "application/openmetrics-text; version=0.0.1; charset=utf-8")
