{{/* Names and labels. */}}
{{- define "pricecast.name" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- else }}
{{- $chart := .Values.nameOverride | default "pricecast" }}
{{- if contains $chart .Release.Name }}{{ .Release.Name | trunc 45 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name $chart | trunc 45 | trimSuffix "-" }}{{ end -}}
{{- end }}
{{- end }}

{{- define "pricecast.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
app.kubernetes.io/part-of: pricecast
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{ include "pricecast.selector" . }}
{{- end }}

{{- define "pricecast.selector" -}}
app.kubernetes.io/name: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "pricecast.image" -}}
{{- $digest := get .root.Values.image.digests .service }}
{{- $name := printf "%s/%s" .root.Values.image.registry .service }}
{{- if $digest }}{{ printf "%s@%s" $name $digest }}
{{- else }}{{ printf "%s:%s" $name (include "pricecast.tag" .root) }}
{{- end }}
{{- end }}

{{/* A tag that YAML takes for a number is one all the same; the largest keep all their digits. */}}
{{- define "pricecast.tag" -}}
{{- $tag := .Values.image.tag }}
{{- if kindIs "float64" $tag }}{{ if eq $tag (floor $tag) }}{{ printf "%.0f" $tag }}{{ else }}{{ toString $tag }}{{ end }}
{{- else }}{{ $tag | toString | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* Pod Security `restricted`. */}}
{{- define "pricecast.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "pricecast.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "pricecast.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "pricecast.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* A priority class is the cluster's: an operator of single namespaces makes none. */}}
{{- define "pricecast.trainingPriority" -}}
{{- if and .Values.operator.trainingPriorityClass.create (not .Values.operator.namespaces) }}yes{{ end -}}
{{- end }}

{{/* The Secret of the token that the chart makes, and the Secret whose tokens count; empty for none. */}}
{{- define "pricecast.ownToken" -}}
{{ include "pricecast.name" . }}-api-token
{{- end }}

{{- define "pricecast.tokensSecret" -}}
{{- with .Values.predictionApi.access }}
{{- if .tokensSecret }}{{ .tokensSecret }}
{{- else if not (or .anonymous .oidc.issuer .clientCaSecret) }}{{ include "pricecast.ownToken" $ }}
{{- end }}
{{- end }}
{{- end }}

{{/* What values add to the container and the pod, beside what is there anyway. */}}
{{- define "pricecast.extraEnv" -}}
{{- if .caBundle.configMap }}
- {name: SSL_CERT_FILE, value: /etc/pricecast/ca/ca.crt}
- {name: REQUESTS_CA_BUNDLE, value: /etc/pricecast/ca/ca.crt}
{{- end }}
{{- with .extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "pricecast.extraMounts" -}}
{{- if .caBundle.configMap }}
- {name: ca-bundle, mountPath: /etc/pricecast/ca, readOnly: true}
{{- end }}
{{- with .volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A variable from a key of a Secret, where one is named: list NAME REFERENCE. */}}
{{- define "pricecast.secretEnv" -}}
{{- with index . 1 }}
{{- if .name }}
- name: {{ index $ 0 }}
  valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}
{{- end }}
{{- end }}
{{- end }}

{{- define "pricecast.extraVolumes" -}}
{{- if .caBundle.configMap }}
- {name: ca-bundle, configMap: {name: {{ .caBundle.configMap }}, items: [{key: {{ .caBundle.key }}, path: ca.crt}]}}
{{- end }}
{{- with .volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What the operator may do in the namespaces it serves. */}}
{{- define "pricecast.operatorRules" -}}
- apiGroups: [pricecast.dev]
  resources: [pricepipelines, finetunejobs]
  verbs: [get, list, watch]
- apiGroups: [pricecast.dev]
  resources: [pricepipelines/status, finetunejobs/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs, cronjobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts, persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [keda.sh]
  resources: [scaledobjects, triggerauthentications]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# Read one by one where a spec names them: the address of the model registry, the key of the prediction store.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create, list]
{{- end }}
