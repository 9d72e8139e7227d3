{{- define "sitelog.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Prefix of the names of namespaced objects; the longest suffix is "-webhook-certificate". */}}
{{- define "sitelog.fullname" -}}
{{- $name := include "sitelog.name" . }}
{{- $fullname := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $fullname .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Prefix of the names of cluster-scoped objects: two releases in one cluster do not meet. */}}
{{- define "sitelog.clusterName" -}}
{{- printf "%s-%s" (include "sitelog.fullname" .) .Release.Namespace }}
{{- end }}

{{/* Labels by which pods are selected. Call with (dict "root" $ "component" "webhook"). */}}
{{- define "sitelog.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sitelog.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of every object; component may be absent. */}}
{{- define "sitelog.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "sitelog.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{/* An image reference. Call with (dict "root" $ "image" .Values.image). */}}
{{- define "sitelog.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .root.Chart.AppVersion .image.tag }}
{{- end }}
{{- end }}

{{/* The Secret with tls.crt and tls.key that the webhook serves with. */}}
{{- define "sitelog.certificateSecret" -}}
{{- if eq .Values.webhook.certificate.mode "ExistingSecret" -}}
{{ required "Set webhook.certificate.secretName to the Secret (type kubernetes.io/tls) for webhook.certificate.mode ExistingSecret" .Values.webhook.certificate.secretName }}
{{- else -}}
{{ include "sitelog.fullname" . }}-webhook-certificate
{{- end }}
{{- end }}

{{/* The host by which the API server calls the webhook: what its certificate must be for. */}}
{{- define "sitelog.webhookHost" -}}
{{- if .Values.webhook.url -}}
{{ regexReplaceAll ":[0-9]+$" (urlParse .Values.webhook.url).host "" | trimPrefix "[" | trimSuffix "]" }}
{{- else -}}
{{ include "sitelog.fullname" . }}-webhook.{{ .Release.Namespace }}.svc
{{- end }}
{{- end }}

{{/* Pod fields that both Deployments share. Call with (dict "root" $ "component" "webhook"). */}}
{{- define "sitelog.podCommon" -}}
serviceAccountName: {{ include "sitelog.fullname" .root }}-{{ .component }}
securityContext:
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "sitelog.selectorLabels" $ | nindent 8 }}
  {{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "sitelog.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Container fields that both Deployments share; args are the component's own. */}}
{{- define "sitelog.containerCommon" -}}
image: {{ include "sitelog.image" (dict "root" .root "image" .root.Values.image) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- include "sitelog.containerSecurity" . | nindent 2 }}
env:
  # Policies in this namespace apply to every governed namespace.
  - name: SITELOG_ROOT_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  {{- if eq .component "controller" }}
  # Of a long work each controller begins with its share.
  - name: SITELOG_POD
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  {{- end }}
# Until the first answer, up to a minute: then liveness takes over.
startupProbe:
  httpGet: {path: /healthz, port: health}
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet: {path: /healthz, port: health}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{/* Namespaces that are never governed, as JSON: Sitelog and the cluster's core start without the webhook. */}}
{{- define "sitelog.excludedNamespaces" -}}
{{ append .Values.webhook.excludedNamespaces .Release.Namespace | uniq | toJson }}
{{- end }}

{{/* The listed namespaces, as JSON; empty: every one that is not excluded. */}}
{{- define "sitelog.namespaces" -}}
{{- $excluded := include "sitelog.excludedNamespaces" . | fromJsonArray }}
{{- range .Values.namespaces }}
{{- if has . $excluded }}
{{- fail (printf "Remove %s from namespaces: it is the release's own namespace, or one of webhook.excludedNamespaces" .) }}
{{- end }}
{{- end }}
{{- .Values.namespaces | sortAlpha | toJson }}
{{- end }}

{{/* What the admission policies and the webhook see, by the label that the API server itself puts on each namespace. */}}
{{- define "sitelog.governedNamespaces" -}}
namespaceSelector:
  matchExpressions:
    - key: kubernetes.io/metadata.name
      {{- if .Values.namespaces }}
      operator: In
      values: {{ include "sitelog.namespaces" . }}
      {{- else }}
      operator: NotIn
      values: {{ include "sitelog.excludedNamespaces" . }}
      {{- end }}
{{- end }}

{{/* CEL: whether a ConfigMap has a job configuration under a key that NVFlare looks for. */}}
{{- define "sitelog.configurationKeys" -}}
['json', 'conf', 'yml', 'yaml', 'json.default', 'conf.default', 'yml.default', 'yaml.default']
{{- end }}
{{- define "sitelog.carriesConfiguration" -}}
{{ include "sitelog.configurationKeys" . }}.exists(format, (has(object.data) && ('config_fed_client.' + format) in object.data) || (has(object.binaryData) && ('config_fed_client.' + format) in object.binaryData))
{{- end }}

{{/* CEL: whether one of them differs from what is stored. */}}
{{- define "sitelog.changesConfiguration" -}}
request.operation == 'CREATE' || {{ include "sitelog.configurationKeys" . }}.exists(format, object.?data[?('config_fed_client.' + format)].orValue('') != oldObject.?data[?('config_fed_client.' + format)].orValue('') || object.?binaryData[?('config_fed_client.' + format)].orValue(b'') != oldObject.?binaryData[?('config_fed_client.' + format)].orValue(b''))
{{- end }}

{{/* The controller's account. */}}
{{- define "sitelog.controllerUsername" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "sitelog.fullname" . }}-controller
{{- end }}

{{/* CEL: whether an object comes from somebody else than the controller, or is stored already. */}}
{{- define "sitelog.notTheControllers" -}}
request.operation != 'CREATE' || request.userInfo.username != '{{ include "sitelog.controllerUsername" . }}'
{{- end }}
