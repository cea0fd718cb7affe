{{- /* What the Applications have in common: takes `root`, `name`, `wave` and `namespace`. */}}
{{- define "application" -}}
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  annotations:
    argocd.argoproj.io/sync-wave: {{ .wave | quote }}
  finalizers: [resources-finalizer.argocd.argoproj.io]  # what it has applied goes with it
spec:
  project: {{ .root.Values.project }}
  destination:
    server: https://kubernetes.default.svc
    namespace: {{ .namespace }}
{{- end }}

{{- define "source" -}}
repoURL: {{ required "set repoURL to the address of your repository" .Values.repoURL }}
targetRevision: {{ .Values.targetRevision }}
{{- end }}

{{- define "syncPolicy" -}}
automated: {prune: true, selfHeal: true}
retry:
  limit: -1
  backoff: {duration: 5s, factor: 2, maxDuration: 1m}
{{- end }}

{{- /* For those that make their namespace */}}
{{- define "restricted" -}}
managedNamespaceMetadata:
  labels:
    pod-security.kubernetes.io/enforce: restricted
{{- end }}
