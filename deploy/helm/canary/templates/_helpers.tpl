{{- define "canary.prefix" -}}
{{- .Values.fullnameOverride | default (.Release.Name | trunc 40 | trimSuffix "-") -}}
{{- end }}

{{- define "canary.name" -}}
{{ include "canary.prefix" . }}-controller
{{- end }}

{{- define "canary.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "canary.name" .) }}
{{- else -}}
{{ required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{- define "canary.labels" -}}
app.kubernetes.io/name: canary
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: canary
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "canary.selector" -}}
app.kubernetes.io/name: canary
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "canary.image" -}}
{{- with .Values.image -}}
{{ required "image.repository is not set: there is no published image. Build deploy/Dockerfile, push it to where your cluster pulls from, and say where that is, for example --set image.repository=registry.example.com/canary" .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- /* Files that are asked for: name of the volume, where from, and of each key the variable. A list in JSON. */ -}}
{{- define "canary.files" -}}
{{- $files := list -}}
{{- with .Values.prometheus -}}
{{- if .bearerToken.secret -}}
{{- $files = append $files (dict "name" "prometheus-token" "secret" .bearerToken.secret "items" (list (dict "env" "CANARY_PROMETHEUS_BEARER_TOKEN_FILE" "key" .bearerToken.key))) -}}
{{- end -}}
{{- if and .ca.secret .ca.configMap -}}
{{- fail "prometheus.ca: give a secret or a configMap, not both" -}}
{{- end -}}
{{- if or .ca.secret .ca.configMap -}}
{{- $files = append $files (dict "name" "prometheus-ca" "secret" .ca.secret "configMap" .ca.configMap "items" (list (dict "env" "CANARY_PROMETHEUS_CA_FILE" "key" .ca.key))) -}}
{{- end -}}
{{- if .headers.secret -}}
{{- $files = append $files (dict "name" "prometheus-headers" "secret" .headers.secret "items" (list (dict "env" "CANARY_PROMETHEUS_HEADER_FILE" "key" .headers.key))) -}}
{{- end -}}
{{- if .basicAuth.secret -}}
{{- $user := dict "env" "CANARY_PROMETHEUS_USERNAME_FILE" "key" .basicAuth.usernameKey -}}
{{- $password := dict "env" "CANARY_PROMETHEUS_PASSWORD_FILE" "key" .basicAuth.passwordKey -}}
{{- $files = append $files (dict "name" "prometheus-basic-auth" "secret" .basicAuth.secret "items" (list $user $password)) -}}
{{- end -}}
{{- if .clientCertificate.secret -}}
{{- $certificate := dict "env" "CANARY_PROMETHEUS_CLIENT_CERTIFICATE_FILE" "key" .clientCertificate.certificateKey -}}
{{- $key := dict "env" "CANARY_PROMETHEUS_CLIENT_KEY_FILE" "key" .clientCertificate.keyKey -}}
{{- $files = append $files (dict "name" "prometheus-client-certificate" "secret" .clientCertificate.secret "items" (list $certificate $key)) -}}
{{- end -}}
{{- if and .bearerToken.secret .basicAuth.secret -}}
{{- fail "prometheus: give a bearerToken or basicAuth, not both" -}}
{{- end -}}
{{- if and $files (not .url) -}}
{{- fail "prometheus.bearerToken, basicAuth, clientCertificate, ca and headers are for prometheus.url, which is empty" -}}
{{- end -}}
{{- end -}}
{{- with .Values.gatewayFeatures -}}
{{- if .configMap -}}
{{- $files = append $files (dict "name" "gateway-features" "secret" "" "configMap" .configMap "items" (list (dict "env" "CANARY_GATEWAY_FEATURES" "key" .key))) -}}
{{- end -}}
{{- end -}}
{{ toJson $files }}
{{- end }}

{{- /* Rules by part. What follows the namespace of a Rollout, and what has no namespace, are apart. */ -}}
{{- define "canary.rules.read" -}}
- apiGroups: [canary.dev]
  resources: [rollouts, checktemplates, notificationtargets]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes, grpcroutes, tlsroutes, tcproutes, udproutes]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways, listenersets, referencegrants]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch]
- apiGroups: [apps]
  resources: {{ toJson .Values.rbac.workloads }}
  verbs: [list, watch]
{{- end }}

{{- define "canary.rules.clusterRead" -}}
- apiGroups: [canary.dev]
  resources: [clusterchecktemplates, clusternotificationtargets]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses]
  verbs: [list, watch]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
- apiGroups: [canary.dev]
  resources: [clusternotificationtargets/status]
  verbs: [patch]
{{- end }}

{{- define "canary.rules.rollouts" -}}
- apiGroups: [canary.dev]
  resources: [rollouts]
  verbs: [get, patch]
- apiGroups: [canary.dev]
  resources: [rollouts/status]
  verbs: [patch]
- apiGroups: [canary.dev]
  resources: [notificationtargets/status]
  verbs: [patch]
{{- end }}

{{- define "canary.rules.routes" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes, grpcroutes, tlsroutes, tcproutes, udproutes]
  verbs: [get, patch]
- apiGroups: [""]
  resources: [services]
  verbs: [get]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list]
{{- end }}

{{- define "canary.rules.workloads" -}}
- apiGroups: [apps]
  resources: {{ toJson .Values.rbac.workloads }}
  verbs: [get, patch]
- apiGroups: [apps]
  resources: {{ include "canary.histories" . }}
  verbs: [list]
{{- end }}

{{- define "canary.histories" -}}
{{- $found := list }}
{{- range .Values.rbac.workloads }}{{ $found = append $found (ternary "replicasets" "controllerrevisions" (eq . "deployments")) }}{{ end }}
{{- toJson (uniq $found) }}
{{- end }}

{{- define "canary.rules.scaling" -}}
{{- if ne (include "canary.scaled" .) "[]" }}
- apiGroups: [apps]
  resources: {{ include "canary.scaled" . }}
  verbs: [get, patch]
{{- end }}
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch]
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [list, watch]
{{- end }}

{{- define "canary.rules.policies" -}}
- apiGroups: [gateway.envoyproxy.io]
  resources: [backendtrafficpolicies, clienttrafficpolicies, envoyextensionpolicies, envoypatchpolicies, securitypolicies]
  verbs: [list, watch]
- apiGroups: [gateway.kgateway.dev]
  resources: [backendconfigpolicies, httplistenerpolicies, listenerpolicies, trafficpolicies]
  verbs: [list, watch]
- apiGroups: [kuadrant.io]
  resources: [authpolicies, dnspolicies, ratelimitpolicies, tlspolicies, tokenratelimitpolicies]
  verbs: [list, watch]
- apiGroups: [gateway.nginx.org]
  resources: [clientsettingspolicies, observabilitypolicies, proxysettingspolicies, snippetspolicies, upstreamsettingspolicies]
  verbs: [list, watch]
{{- end }}

{{- define "canary.rules.events" -}}
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}

{{- define "canary.rules.jobs" -}}
- apiGroups: [batch]
  resources: [jobs]
  verbs: [create, get, list, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get]
{{- end }}

{{- define "canary.scaled" -}}
{{- $found := list }}
{{- range .Values.rbac.workloads }}{{ if ne . "daemonsets" }}{{ $found = append $found (printf "%s/scale" .) }}{{ end }}{{ end }}
{{- toJson $found }}
{{- end }}

{{- define "canary.rules.foreignWorkloads" -}}
{{- range .Values.rbac.foreignWorkloads }}
- apiGroups: [{{ .group }}]
  resources: {{ toJson .resources }}
  verbs: [list, watch]
{{- end }}
{{- end }}

{{- define "canary.rules.configs" -}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
{{- end }}

{{- define "canary.rules.secrets" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end }}

{{- /* Variables that the chart sets itself, also by names of old, each with the value that says so. JSON. */ -}}
{{- define "canary.own" -}}
{{- $own := dict "CANARY_PROMETHEUS_URL" "prometheus.url" "CANARY_ALLOW_HOSTS" "allowHosts" "CANARY_PROMETHEUS_HOSTS" "allowHosts" "CANARY_NOTIFY_SERVICES" "notifyServices" "CANARY_NAMESPACES" "namespaces" "CANARY_LOG_LEVEL" "log.level" "CANARY_LOG_FORMAT" "log.format" "CANARY_METRICS_ADDRESS" "" "POD_NAMESPACE" "" "CANARY_LEASE" "" -}}
{{- range $file := include "canary.files" . | fromJsonArray -}}
{{- range .items -}}
{{- $own = set $own .env $file.name -}}
{{- end -}}
{{- end -}}
{{- toJson $own -}}
{{- end }}

{{- /* What the chart sets itself is not set twice: which of two counts, nobody would see. Writes nothing. */ -}}
{{- define "canary.once" -}}
{{- $own := include "canary.own" . | fromJson -}}
{{- $options := dict "-n" $own.CANARY_NAMESPACES -}}
{{- range $name, $value := $own -}}
{{- if hasPrefix "CANARY_" $name -}}
{{- $options = set $options (printf "--%s" ($name | trimPrefix "CANARY_" | lower | replace "_" "-")) $value -}}
{{- end -}}
{{- end -}}
{{- $twice := list -}}
{{- range .Values.extraEnv -}}
{{- if hasKey $own .name -}}
{{- $twice = append $twice (list "extraEnv" .name (get $own .name)) -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraArgs -}}
{{- $name := ternary "-n" (splitList "=" . | first) (hasPrefix "-n" .) -}}
{{- if hasKey $options $name -}}
{{- $twice = append $twice (list "extraArgs" $name (get $options $name)) -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := include "canary.selector" . | fromYaml -}}
{{- if hasKey ($.Values.podLabels | default dict) $name -}}
{{- $twice = append $twice (list "podLabels" $name "") -}}
{{- end -}}
{{- end -}}
{{- if hasKey (.Values.podAnnotations | default dict) "kubectl.kubernetes.io/default-container" -}}
{{- $twice = append $twice (list "podAnnotations" "kubectl.kubernetes.io/default-container" "") -}}
{{- end -}}
{{- $sentences := list -}}
{{- range $twice -}}
{{- $by := last . -}}
{{- $sentences = append $sentences (printf "%s: the chart sets %s itself%s" (index . 0) (index . 1) (ternary (printf ", by %s" $by) "" (ne "" $by))) -}}
{{- end -}}
{{- if $sentences -}}
{{- fail (join "; " $sentences) -}}
{{- end -}}
{{- end }}
