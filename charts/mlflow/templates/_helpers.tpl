{{/* The name that all objects begin with. */}}
{{- define "mlflow.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "mlflow.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels that identify the server's pods; those of other pods differ in `component`. */}}
{{- define "mlflow.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "mlflow.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "mlflow.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "mlflow.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What is kept on the volume: "true" or nothing. */}}
{{- define "mlflow.usesVolume" -}}
{{- if or (not .Values.postgresql.uriSecret.name) (not .Values.artifacts.destination) -}}true{{- end -}}
{{- end -}}

{{- define "mlflow.claim" -}}
{{- .Values.volume.existingClaim | default (include "mlflow.fullname" .) -}}
{{- end -}}

{{- define "mlflow.authSecret" -}}
{{- .Values.auth.existingSecret | default (printf "%s-auth" (include "mlflow.fullname" .)) -}}
{{- end -}}

{{- define "mlflow.path" -}}
{{- .Values.server.staticPrefix | trimSuffix "/" -}}
{{- end -}}

{{/* The server's URL in the cluster. */}}
{{- define "mlflow.url" -}}
{{- printf "http://%s.%s:%v%s" (include "mlflow.fullname" .) .Release.Namespace .Values.service.port (include "mlflow.path" .) -}}
{{- end -}}

{{/* Host names that the server answers to, with any port. */}}
{{- define "mlflow.allowedHosts" -}}
{{- $name := include "mlflow.fullname" . -}}
{{- $inNamespace := printf "%s.%s" $name .Release.Namespace -}}
{{- $service := printf "%s.svc" $inNamespace -}}
{{- $hosts := list "localhost" "127.0.0.1" "$(POD_IP)" $name $inNamespace $service (printf "%s.%s" $service .Values.server.clusterDomain) -}}
{{- if .Values.ingress.enabled -}}{{- $hosts = concat $hosts .Values.ingress.hosts -}}{{- end -}}
{{- if .Values.httpRoute.enabled -}}{{- $hosts = concat $hosts .Values.httpRoute.hostnames -}}{{- end -}}
{{- $patterns := list -}}
{{- range uniq $hosts -}}{{- $patterns = concat $patterns (list . (printf "%s:*" .)) -}}{{- end -}}
{{- join "," (concat $patterns .Values.server.allowedHosts | uniq) -}}
{{- end -}}

{{/* Values that each are right and together are not. */}}
{{- define "mlflow.validate" -}}
{{- if and (gt (int .Values.replicas) 1) (include "mlflow.usesVolume" .) -}}
{{- fail "replicas: more than one needs a PostgreSQL database (postgresql.uriSecret.name) and a bucket (artifacts.destination), as a volume belongs to one server." -}}
{{- end -}}
{{- if and .Values.caBundle.configMap .Values.caBundle.secret -}}
{{- fail "caBundle: the certificates are in configMap or in secret; empty the other." -}}
{{- end -}}
{{- if and (eq .Values.artifacts.access "Direct") (not .Values.artifacts.destination) -}}
{{- fail "artifacts.access: Direct needs a bucket that clients reach, in artifacts.destination." -}}
{{- end -}}
{{- end -}}

{{/* What the specs of all pods share. */}}
{{- define "mlflow.pod" -}}
enableServiceLinks: false
automountServiceAccountToken: false
# The kernel keeps SIGTERM from a process with the number 1 that does not handle it, as Python does not while it starts.
shareProcessNamespace: true
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What all containers share. */}}
{{- define "mlflow.container" -}}
image: {{ include "mlflow.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
{{- end -}}

{{/* The environment of what opens the database. */}}
{{- define "mlflow.databaseEnv" -}}
- name: MLFLOW_BACKEND_STORE_URI
  {{- with .Values.postgresql.uriSecret }}
  {{- if .name }}
  valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}
  {{- else }}
  value: sqlite:////mlflow/mlflow.db
  {{- end }}
  {{- end }}
{{- if .Values.auth.enabled }}
- name: MLFLOW_AUTH_CONFIG_PATH
  value: /tmp/auth.ini
- name: AUTH_DEFAULT_PERMISSION
  value: {{ .Values.auth.defaultPermission }}
- name: AUTH_CACHE_SECONDS
  value: {{ .Values.auth.cacheSeconds | int | quote }}
{{- end }}
{{- if or .Values.caBundle.configMap .Values.caBundle.secret }}
{{- range list "SSL_CERT_FILE" "REQUESTS_CA_BUNDLE" "AWS_CA_BUNDLE" }}
- name: {{ . }}
  value: /etc/mlflow-ca/ca.crt
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The environment of what opens the bucket. */}}
{{- define "mlflow.artifactsEnv" -}}
{{- with .Values.artifacts.s3 -}}
- name: MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE
  value: {{ .addressingStyle }}
# Servers other than Amazon's may not know the checksums that clients send of late.
- name: AWS_REQUEST_CHECKSUM_CALCULATION
  value: when_required
- name: AWS_RESPONSE_CHECKSUM_VALIDATION
  value: when_required
{{- with .endpoint }}
- name: MLFLOW_S3_ENDPOINT_URL
  value: {{ . | quote }}
- name: AWS_ENDPOINT_URL_S3
  value: {{ . | quote }}
{{- end }}
{{- with .region }}
- name: AWS_DEFAULT_REGION
  value: {{ . }}
{{- end }}
{{- with .credentialsSecret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ . }}, key: AWS_ACCESS_KEY_ID}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ . }}, key: AWS_SECRET_ACCESS_KEY}}
- name: AWS_SESSION_TOKEN
  valueFrom: {secretKeyRef: {name: {{ . }}, key: AWS_SESSION_TOKEN, optional: true}}
{{- end }}
{{- end }}
{{- end -}}

{{/* What all containers mount; that of the server has the volume as well. */}}
{{- define "mlflow.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if or .Values.caBundle.configMap .Values.caBundle.secret }}
- name: ca-bundle
  mountPath: /etc/mlflow-ca
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "mlflow.dataMount" -}}
{{- if include "mlflow.usesVolume" . -}}
- name: data
  mountPath: /mlflow
{{- end -}}
{{- end -}}

{{- define "mlflow.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: {{ .Values.temporarySize }}}
{{- with .Values.caBundle }}
{{- if .configMap }}
- name: ca-bundle
  configMap:
    name: {{ .configMap }}
    items: [{key: {{ .key }}, path: ca.crt}]
{{- else if .secret }}
- name: ca-bundle
  secret:
    secretName: {{ .secret }}
    items: [{key: {{ .key }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "mlflow.dataVolume" -}}
{{- if include "mlflow.usesVolume" . -}}
- name: data
  persistentVolumeClaim: {claimName: {{ include "mlflow.claim" . }}}
{{- end -}}
{{- end -}}
