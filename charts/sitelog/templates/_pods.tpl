{{- /*
What the second lock looks for in pods, in CEL: the counterpart of operator/sitelog/core/jobpod, which says why. Tests compare
the two.
*/}}

{{/* The containers with which a pod can be created. */}}
{{- define "sitelog.pods.containers" -}}
(object.spec.containers + object.spec.?initContainers.orValue([]))
{{- end }}

{{/* The command lines of a container c: its own, and those of its hooks and probes. */}}
{{- define "sitelog.pods.commands" -}}
([c.?command.orValue([]) + c.?args.orValue([])]
+ [c.?lifecycle.?postStart, c.?lifecycle.?preStop, c.?livenessProbe, c.?readinessProbe, c.?startupProbe]
.map(hook, hook.?exec.?command.orValue([])))
{{- end }}

{{/*
Its texts t: 0 the command line, 1 to 5 the hooks and probes, 6 the values of the environment and the working directory. Each
part ends in a newline, and has no other.
*/}}
{{- define "sitelog.pods.texts" -}}
({{ include "sitelog.pods.commands" . }} + [c.?env.orValue([]).map(v, v.?value.orValue('')) + [c.?workingDir.orValue('')]])
.map(parts, (parts.map(part, part.replace('\n', ' ')) + ['']).join('\n'))
{{- end }}

{{/*
Whether containers are few and small enough to be checked. They are counted before a text is read: for a pod of 20,000
texts the API server took seconds, in namespaces of others too.
*/}}
{{- define "sitelog.pods.small" -}}
(size({{ . }}) <= 50
&& {{ . }}.map(c, {{ include "sitelog.pods.commands" . }}.map(parts, size(parts)).sum() + size(c.?env.orValue([])) + 1)
.sum() <= 1000
&& {{ . }}.map(c, size({{ include "sitelog.pods.texts" . }}.join(''))).sum() <= 50000)
{{- end }}

{{/* Whether a text names the job process, or hides which module its Python runs. */}}
{{- define "sitelog.pods.namesOrHides" -}}
matches(r'worker_process[^0-9A-Za-z_]|nvflare[./]+private[./]+fed[./]+app[./]+client[./]*[^./c]|python[0-9.]*[\x22\x27]?[ \t\r\n\f]+(-[^ \t\r\n\f$`]*[ \t\r\n\f]+|-[^ \t\r\n\f$`]*[WX][ \t\r\n\f]+[^- \t\r\n\f$`][^ \t\r\n\f$`]*[ \t\r\n\f]+){0,20}-[A-Za-z]{0,9}m[ \t\r\n\f\x22\x27]*([^ \t\r\n\f\x22\x27$`][^ \t\r\n\f$`]*)?[$`]')
{{- end }}

{{/* Whether a command line hides its program, or what its Python runs. */}}
{{- define "sitelog.pods.hidesProgram" -}}
matches(r'^[^\n]*\$\(|(^|\n)([^\n]*/)?(python|pypy)[^\n/$]*\n(-[^\n$]*\n|-[^\n$]*[WX]\n[^-\n$][^\n$]*\n)*[^\n]*\$\(|^(-[BEIOPRSbdqsuv]+\n|-[WX]\n?[0-9A-Za-z_:=]+\n)+[^\n]*\$\(|^(-[BEIOPRSbdqsuv]+\n|-[WX]\n?[0-9A-Za-z_:=]+\n)*-[BEIOPRSbdqsuv]*m\n?[^\n]*\$\(')
{{- end }}

{{/* Whether the texts t of a container run a job, or hide what they run; and whether those beside its command line do. */}}
{{- define "sitelog.pods.runsJob" -}}
(t.join('').{{ include "sitelog.pods.namesOrHides" . }}
|| t[0].{{ include "sitelog.pods.hidesProgram" . }}
|| {{ include "sitelog.pods.hookHidesProgram" . }})
{{- end }}
{{- define "sitelog.pods.runsJobBeside" -}}
(t.join('').substring(size(t[0])).{{ include "sitelog.pods.namesOrHides" . }}
|| {{ include "sitelog.pods.hookHidesProgram" . }})
{{- end }}
{{- define "sitelog.pods.hookHidesProgram" -}}
[t[1], t[2], t[3], t[4], t[5]].exists(hook, hook.{{ include "sitelog.pods.hidesProgram" . }})
{{- end }}

{{/* A job's command line: an interpreter, its plain options and the module; and all of it, the last --set with the argument. */}}
{{- define "sitelog.pods.startsJob" -}}
(([^\n$]*/)?python[0-9.]*\n)?(-[BEIOPRSbdqsuv]+\n|-[WX]\n?[0-9A-Za-z_:=]+\n)*-m\nnvflare\.private\.fed\.app\.client\.worker_process\n
{{- end }}
{{- define "sitelog.pods.holdsJob" -}}
{{ include "sitelog.pods.startsJob" . }}([^\n]*\n)*--set\n(([^-\n$][^\n$]*)?\n)*allow_log_streaming=false\n
{{- end }}
