{{/* What a schema cannot say well: values that contradict each other. */}}

{{- define "tidegate.check" -}}
{{- $storage := .Values.storage -}}
{{- if and (not $storage.url) (or $storage.endpoint $storage.region $storage.secretName) -}}
{{- fail "storage.endpoint, storage.region and storage.secretName mean nothing without storage.url: give the bucket, as in s3://bucket/prefix" -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) .Values.rbac.create (not .Values.serviceAccount.name) -}}
{{- fail "with serviceAccount.create=false give serviceAccount.name: else every pod of the namespace that uses its default account would get the controller's rights" -}}
{{- end -}}
{{- end -}}
