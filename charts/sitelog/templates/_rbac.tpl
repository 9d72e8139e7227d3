{{/*
A Role and its RoleBinding for a component's ServiceAccount.
Call with (dict "it" $it "name" NAME "namespace" NAMESPACE "rules" TEXT "annotations" TEXT); annotations may be absent.
*/}}
{{- define "sitelog.role" }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "sitelog.labels" .it | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
rules:
  {{- .rules | trim | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "sitelog.labels" .it | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "sitelog.fullname" .it.root }}-{{ .it.component }}
    namespace: {{ .it.root.Release.Namespace }}
{{- end }}

{{/* In the ClusterRole, or, with `namespaces`, in Roles there and in the release's namespace. */}}
{{- define "sitelog.policyRules" -}}
# Policies say what to do.
- apiGroups: [sitelog.dev]
  resources: [sitelogpolicies]
  verbs: [get, list, watch]
# Their conditions and counters say what was done.
- apiGroups: [sitelog.dev]
  resources: [sitelogpolicies/status]
  verbs: [get, patch, update]
{{- end }}

{{/* In the ClusterRole, or, with `namespaces`, in Roles there. */}}
{{- define "sitelog.controllerRules" -}}
# Whether the API server holds a prohibition is seen by dry runs. An admission policy of this chart's refuses all others.
- apiGroups: [""]
  resources: [configmaps, pods]
  verbs: [create]
# Existing job configurations are brought into line when a policy changes (patch); those that the gate published are
# removed when they have expired (delete).
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, patch, delete]
# Job pods are followed to their end; what became of the error log is noted in an annotation (patch). Those that go on
# streaming under a prohibition are removed where the policy says so (onRevoke: DeletePods).
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch, delete]
# The error log is captured from the container's log.
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
# Without any log, Events tell why a pod never started (list); Sitelog reports in Events of its own (create, patch).
- apiGroups: [""]
  resources: [events]
  verbs: [list, create, patch]
# One upload Job for each ended job pod: created suspended, resumed (patch), watched, removed when superseded.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
# Captured logs travel in a Secret in the job's namespace. Create only: Sitelog can read none, not even its own.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
# A gate in an FL client's pod gets its one right by a RoleBinding in its namespace, for its own ServiceAccount. Whoever
# may create these binds nothing beyond his own rights, but for the roles that `bind` names: the gate's, and no other.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings]
  verbs: [create]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [{{ .Values.namespaces | empty | ternary "clusterroles" "roles" }}]
  resourceNames: [{{ include "sitelog.clusterName" . }}-gate]
  verbs: [bind]
# It is found, kept in line with the pods, and removed when no gate needs it: those of this one name only.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings]
  resourceNames: [{{ include "sitelog.clusterName" . }}-gate]
  verbs: [list, patch, delete]
{{- end }}

{{/* In the release's own namespace. */}}
{{- define "sitelog.ownRules" -}}
{{- if .Values.namespaces }}
{{ include "sitelog.policyRules" . }}
# Each controller begins a long work with its share: one of as many as there are controllers' pods (list). And kopf watches
# each kind, here job pods and upload Jobs, wherever it watches another, here policies.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch]
{{- end }}
{{- if eq .Values.webhook.certificate.mode "Managed" }}
{{- if .Values.namespaces }}
# The webhook's certificate is made.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
{{- end }}
# It is replaced when it is renewed.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "sitelog.certificateSecret" . }}]
  verbs: [patch, update]
{{- end }}
{{- end }}
