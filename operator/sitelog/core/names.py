"""Every name that leaves the process: what users, manifests, metrics and other programs see."""

from enum import Enum

GROUP = "sitelog.dev"
VERSION = "v1alpha1"
KIND = "SiteLogPolicy"
PLURAL = "sitelogpolicies"

# --- labels: searchable, at most 63 safe characters (core.labels makes values safe) -------------------------------
LABEL_MANAGED = f"{GROUP}/managed"  # "true" on every ConfigMap that a decision was taken about
LABEL_DECISION = f"{GROUP}/decision"  # a Decision; what happened to the configuration
LABEL_JOB = f"{GROUP}/job"  # FL job id, made safe; on ConfigMaps, job pods and upload Jobs
LABEL_CLIENT = f"{GROUP}/client"  # FL client name, made safe; on the same objects
LABEL_PUBLISHED_BY = f"{GROUP}/published-by"  # "gate" on ConfigMaps that the gate created and the controller removes
LABEL_UPLOAD = f"{GROUP}/upload"  # "true" on upload Jobs, their pods and Secrets
LABEL_GATE = f"{GROUP}/gate"  # "injected" on FL clients' pods that the gate was put into, and on its RoleBindings
LABEL_NAMESPACE_NAME = "kubernetes.io/metadata.name"  # Kubernetes' own, on each namespace: its name

# --- finalizers ---------------------------------------------------------------------------------------------------
FINALIZER_ERROR_LOG = f"{GROUP}/error-log"  # on a job pod until its error log is captured, or known not to be wanted

# --- annotations: raw values and longer texts ---------------------------------------------------------------------
ANNOTATION_POLICY = f"{GROUP}/policy"  # namespace/name of the policy that decided
ANNOTATION_POLICY_GENERATION = f"{GROUP}/policy-generation"  # its metadata.generation, as text
ANNOTATION_LOG_STREAMING = f"{GROUP}/log-streaming"  # a LogStreaming, whatever the configuration needed
ANNOTATION_REASON = f"{GROUP}/reason"  # a Reason
ANNOTATION_CONFIG_DIGEST = f"{GROUP}/config-digest"  # sha256:<hex> of the configuration before the decision
ANNOTATION_RESULT_DIGEST = f"{GROUP}/result-digest"  # the same of what the decision made of it
ANNOTATION_SITE_VALUE = f"{GROUP}/site-value"  # on a site's resources: what they said before a prohibition, as JSON
ANNOTATION_JOB_ID = f"{GROUP}/job-id"  # FL job id, raw
ANNOTATION_CLIENT_NAME = f"{GROUP}/client-name"  # FL client name, raw
ANNOTATION_UPLOAD = f"{GROUP}/error-log"  # on a job pod: what became of its error log, an UploadResult
ANNOTATION_UPLOAD_REASON = f"{GROUP}/error-log-reason"  # a Reason, and a sentence
ANNOTATION_POD_UID = f"{GROUP}/pod-uid"  # on an upload Job: the job pod it stands for
ANNOTATION_POD_NAME = f"{GROUP}/pod-name"  # the same pod's name
ANNOTATION_POD_LABELS = f"{GROUP}/pod-labels"  # on an upload Job: the pod's labels, by which policies select, as JSON
ANNOTATION_POD_END = f"{GROUP}/pod-end"  # on an upload Job: how the pod ended, a core.jobpod.termination.End
ANNOTATION_CAPTURED = f"{GROUP}/captured"  # on an upload Job: its Secret exists
ANNOTATION_NOT_STARTED = f"{GROUP}/not-started"  # on an upload Job that was ended: why its pod could not start
ANNOTATION_CRD_UID = f"{GROUP}/crd-uid"  # on a binding: uid of the CRD under which its SiteLogPolicy was last seen
ANNOTATION_SERVING_CA = f"{GROUP}/serving-ca"  # on the webhook configuration: the CA now in use, PEM

# --- kopf handler ids: the webhook's paths are /<id>, and the chart's must be the same ------------------------------
HANDLER_CONFIGMAPS = "configmaps"
HANDLER_PODS = "pods"

# --- objects and keys -----------------------------------------------------------------------------------------------
FIELD_MANAGER = "sitelog"
PUBLISHED_BY_GATE = "gate"  # value of LABEL_PUBLISHED_BY
PUBLISHED_NAME_PREFIX = "sitelog-"  # the gate's ConfigMap: prefix + job id + hash of job id and client name
UPLOAD_NAME_PREFIX = "sitelog-upload-"  # upload Job and Secret: prefix + hash of the job pod's uid
SIDECAR = "sitelog-error-log"  # the container beside a job that copies its error log to its own output
ERROR_LOG_KEY = "error_log.txt.gz"  # the Secret's key
GATE = "sitelog-gate"  # in an FL client's pod: the volume with the gate, and the init container that fills it
GATE_FOLDER = "/opt/sitelog-gate"  # where both mount it
GATE_INJECTED = "injected"  # value of LABEL_GATE
GATE_NAMESPACE = "SITELOG_GATE_NAMESPACE"  # variables that the gate reads
GATE_FAILURE_POLICY = "SITELOG_GATE_FAILURE_POLICY"
GATE_TIMEOUT = "SITELOG_GATE_TIMEOUT"
CLIENT_MODULE = "nvflare.private.fed.app.client.client_train"  # what a site's FL client runs
WORKER_MODULE = "nvflare.private.fed.app.client.worker_process"  # what a job pod runs
FORBIDDING_ARGUMENT = "allow_log_streaming=false"  # as the last value of its --set no JobLogStreamer starts
FORBIDDING_VARIABLE = "NVFLARE_ALLOW_LOG_STREAMING"  # in its environment NVFlare reads the same, last and always
FORBIDDING_VALUE = "false"
CONFIG_BASENAME = "config_fed_client"  # a job ConfigMap carries it with one of NVFlare's extensions

# --- conditions of a SiteLogPolicy ----------------------------------------------------------------------------------
CONDITION_READY = "Ready"  # whether the policy does what it says
CONDITION_ENFORCED = "Enforced"  # whether the API server has been seen to hold the prohibition
PROBE = "sitelog-probe-"  # names of the objects, never stored, by which that is seen, begin with it

# --- `sitelog upload`'s exit codes (sysexits.h), understood by the Job's podFailurePolicy ----------------------------
EXIT_DELIVERED = 0
EXIT_RETRY = 75  # EX_TEMPFAIL: another pod may succeed
EXIT_GIVE_UP = 78  # EX_CONFIG: no pod will succeed until a person changes something


class AdmissionPolicy(str, Enum):
    """The chart's admission policies that the controller binds: each value ends a name, after the chart's prefix."""

    CONFIGMAPS = "configmaps"  # refuses job configurations without provenance
    PODS = "pods"  # refuses job pods that may stream
    PROVENANCE = "provenance"  # takes forged provenance away
    JOB_PODS = "job-pods"  # holds job pods that no webhook saw

    @property
    def mutating(self) -> bool:
        """Whether it is a MutatingAdmissionPolicy, which not every Kubernetes has; else a ValidatingAdmissionPolicy."""
        return self in {AdmissionPolicy.PROVENANCE, AdmissionPolicy.JOB_PODS}


class Decision(str, Enum):
    """What happened to a job's configuration (value of `LABEL_DECISION`)."""

    INJECTED = "Injected"
    DECLARED = "Declared"
    STRIPPED = "Stripped"
    CLEAN = "Clean"
    UNREADABLE = "Unreadable"
    REFUSED = "Refused"
    UNGOVERNED = "Ungoverned"
    # of a site's own resources.json
    SWITCHED_OFF = "SwitchedOff"
    SITE_DEFERS = "SiteDefers"
    SWITCHED_ON = "SwitchedOn"
    SITE_FORBIDS = "SiteForbids"


class UploadResult(str, Enum):
    """What became of a job pod's error log (value of `ANNOTATION_UPLOAD`)."""

    UPLOADED = "Uploaded"
    SKIPPED = "Skipped"
    FAILED = "Failed"


class Reason(str, Enum):
    """Why: one code for `kubectl get`, Events, metrics and logs. CamelCase, as Kubernetes' reasons.

    None of them may be a reason by which NVFlare's launcher tells a pod that cannot start
    (BackOff, Failed, FailedMount, FailedSync, InspectFailed ...).
    """

    # configurations
    STREAMER_INJECTED = "StreamerInjected"
    STREAMER_DECLARED = "StreamerDeclared"
    STREAMER_STRIPPED = "StreamerStripped"
    NO_STREAMER = "NoStreamer"
    NO_POLICY = "NoPolicy"
    NOT_JSON = "NotJSON"
    NOT_HOCON = "NotHOCON"
    NOT_YAML = "NotYAML"
    NOT_UTF8 = "NotUTF8"
    NOT_AN_OBJECT = "NotAnObject"
    TOO_DEEP = "TooDeep"
    FORMAT_UNSUPPORTED = "FormatUnsupported"
    UNDECIDABLE = "Undecidable"
    NOT_REMOVABLE = "NotRemovable"
    TOO_LARGE = "TooLarge"
    IMMUTABLE = "Immutable"
    DRY_RUN = "DryRun"
    SITE_SWITCHED_OFF = "SiteSwitchedOff"
    SITE_DEFERS = "SiteDefers"
    SITE_SWITCHED_ON = "SiteSwitchedOn"
    SITE_FORBIDS = "SiteForbids"
    # job pods
    STREAMING_FORBIDDEN = "StreamingForbidden"
    STREAMING_NOT_STOPPED = "StreamingNotStopped"
    JOB_POD_REMOVED = "JobPodRemoved"
    COMMAND_UNSUPPORTED = "CommandUnsupported"
    JOB_POD_LABELLED = "JobPodLabelled"
    SIDECAR_ADDED = "SidecarAdded"
    JOB_ID_MISSING = "JobIdMissing"
    JOB_ID_INVALID = "JobIdInvalid"
    CLIENT_NAME_MISSING = "ClientNameMissing"
    CLIENT_NAME_MISMATCH = "ClientNameMismatch"
    CLIENT_NAME_UNSET = "ClientNameUnset"
    # FL clients' pods
    GATE_INJECTED = "GateInjected"
    GATE_NOT_WANTED = "GateNotWanted"
    GATE_MISSING = "GateMissing"
    GATE_ACCOUNT_SHARED = "GateAccountShared"
    # error logs
    UPLOAD_STARTED = "UploadStarted"
    UPLOADED = "ErrorLogUploaded"
    UPLOADED_UNVERIFIED = "ErrorLogUploadedUnverified"
    UPLOAD_DISABLED = "UploadDisabled"
    UPLOAD_FORBIDDEN = "UploadForbidden"
    NOTHING_TO_UPLOAD = "NothingToUpload"
    LOG_UNREADABLE = "LogUnreadable"
    KIT_INCOMPLETE = "KitIncomplete"
    KIT_IS_THE_SITE = "KitIsTheSite"
    SERVER_UNREACHABLE = "ServerUnreachable"
    CERTIFICATE_REFUSED = "CertificateRefused"
    NO_RECEIVER = "NoReceiver"
    NOT_STORED = "NotStored"
    UPLOAD_GAVE_UP = "UploadGaveUp"
    UPLOAD_NOT_STARTED = "UploadNotStarted"
    # policies
    IN_FORCE = "InForce"
    OVERRIDDEN = "Overridden"
    SPEC_INVALID = "SpecInvalid"
    OBJECTS_REFUSED = "ObjectsRefused"
    NOTHING_PROHIBITED = "NothingProhibited"
    NOT_GOVERNED = "NotGoverned"
    NOT_IN_FORCE_YET = "NotInForceYet"
    ADMISSION_POLICY_MISSING = "AdmissionPolicyMissing"
    PROBE_FAILED = "ProbeFailed"
