//! The configuration as it is written. Every key is here, with its default beside it; `config.toml` at the top of the
//! repository documents the same keys for administrators.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::value::{
    Address, AgentPath, BaseUrl, CameraName, ClientNetwork, FilePath, LogLevel, Maybe, PictureSize, Size, Span, UpTo, WebOrigin, Within,
};
use crate::ids::{DatasetHash, FolderUuid, ProjectHash};

const TCP_MOST: u64 = 65_536;
const U32_MOST: u64 = u32::MAX as u64;
/// Triggers a minute: more is no limit.
const TRIGGERS_MOST: u64 = 1_000_000;

/// A whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    /// The HTTPS side that label editors call.
    pub server: Server,
    /// The side for administrators and monitoring.
    pub admin: Admin,
    /// Encord's API.
    pub encord: Encord,
    /// The model that agents use unless they name another.
    pub model: Model,
    /// Other models, by name.
    pub models: BTreeMap<String, Model>,
    /// The agents, by path. Written as `[[agent]]`; a later file's table with the same path amends the earlier one.
    pub agent: BTreeMap<String, Agent>,
    /// The cameras, by name. Written as `[[camera]]`; a later file's table with the same name amends the earlier one.
    pub camera: BTreeMap<String, Camera>,
    /// Fetching and decoding.
    pub media: Media,
    /// Answers that wait to be saved.
    pub journal: Journal,
    /// Logs.
    pub log: Log,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where HTTPS is answered, unless systemd passes sockets.
    pub listen: Vec<Address>,
    /// Wall clock for one trigger, all steps.
    pub request_budget: Span,
    /// Triggers that run at once.
    pub max_concurrent_triggers: Within<1, 1024>,
    /// Triggers that wait besides those; beyond, 503.
    pub max_waiting_triggers: Within<0, TCP_MOST>,
    /// After SIGTERM, how long running triggers may take to finish.
    pub shutdown_grace: Span,
    /// Web pages that may call.
    pub allowed_origins: Vec<WebOrigin>,
    /// Projects that may be worked on; empty for every project the key can open.
    pub allowed_projects: Vec<ProjectHash>,
    /// Networks that may connect; empty for everyone who can reach the port.
    pub allowed_clients: Vec<ClientNetwork>,
    /// File with a token that the webhook's path must begin with.
    pub access_token_file: FilePath,
    /// File with the webhook's secrets, one a line.
    pub webhook_secret_file: FilePath,
    /// Whether unsigned requests are taken when a secret is set.
    pub webhook_signature: WebhookSignature,
    /// Certificates.
    pub tls: Tls,
    /// Bounds on time, size and number.
    pub limits: Limits,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec![Address(([0, 0, 0, 0], 8443).into())],
            request_budget: Span::seconds(55),
            max_concurrent_triggers: Within(4),
            max_waiting_triggers: Within(16),
            shutdown_grace: Span::seconds(60),
            allowed_origins: vec![WebOrigin("https://app.encord.com".into()), WebOrigin("https://app.us.encord.com".into())],
            allowed_projects: Vec::new(),
            allowed_clients: Vec::new(),
            access_token_file: FilePath::default(),
            webhook_secret_file: FilePath::default(),
            webhook_signature: WebhookSignature::WhenPresent,
            tls: Tls::default(),
            limits: Limits::default(),
        }
    }
}

/// `server.webhook_signature`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WebhookSignature {
    /// A request that carries a signature must verify; one without is taken.
    WhenPresent,
    /// Unsigned requests are refused.
    Required,
}

/// `[server.tls]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file: the server's certificate, then its chain.
    pub certificate: FilePath,
    /// PEM file: the certificate's private key.
    pub private_key: FilePath,
    /// PEM file: the authority that client certificates must come from; empty asks for none.
    pub client_ca: FilePath,
}

impl Default for Tls {
    fn default() -> Self {
        Self { certificate: "certs/server.pem".into(), private_key: "certs/server.key".into(), client_ca: FilePath::default() }
    }
}

/// `[server.limits]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// From the TCP connection to the end of the TLS handshake.
    pub handshake_time: Span,
    /// Silence after the handshake, before the first request.
    pub first_byte_time: Span,
    /// From a request's first byte to the end of its header.
    pub header_time: Span,
    /// Request line and header together.
    pub header_bytes: Size,
    /// From the end of the header to the end of the body.
    pub body_time: Span,
    /// A request's body.
    pub body_bytes: Size,
    /// Silence between requests on a kept connection.
    pub idle_time: Span,
    /// How long a caller may refuse to take the answer.
    pub write_time: Span,
    /// Connections in all.
    pub connections: Within<1, TCP_MOST>,
    /// Connections of one address.
    pub connections_per_address: Within<1, TCP_MOST>,
    /// Concurrent HTTP/2 streams of one connection.
    pub streams_per_connection: Within<1, 1024>,
    /// Requests after which a connection is closed.
    pub requests_per_connection: Within<1, U32_MOST>,
    /// Triggers a minute of one address; 0 for no limit.
    pub triggers_per_address: Within<0, TRIGGERS_MOST>,
    /// Triggers a minute on one project; 0 for no limit.
    pub triggers_per_project: Within<0, TRIGGERS_MOST>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_time: Span::seconds(10),
            first_byte_time: Span::seconds(75),
            header_time: Span::seconds(10),
            header_bytes: Size(16 << 10),
            body_time: Span::seconds(10),
            body_bytes: Size(64 << 10),
            idle_time: Span::seconds(75),
            write_time: Span::seconds(20),
            connections: Within(512),
            connections_per_address: Within(64),
            streams_per_connection: Within(32),
            requests_per_connection: Within(10_000),
            triggers_per_address: Within(600),
            triggers_per_project: Within(1200),
        }
    }
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where health, metrics and the status page are served in plain HTTP.
    pub listen: Address,
    /// File with a token to ask for; needed when the address is not loopback.
    pub token_file: FilePath,
    /// The status page shows the pictures of the last triggers.
    pub thumbnails: bool,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: Address(([127, 0, 0, 1], 9464).into()), token_file: FilePath::default(), thumbnails: false }
    }
}

/// `[encord]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Encord {
    /// The region's or private cloud's API.
    pub domain: BaseUrl,
    /// OpenSSH Ed25519 private key that is registered at Encord.
    pub ssh_key_file: FilePath,
    /// File with the key's passphrase.
    pub ssh_key_password_file: FilePath,
    /// PEM file with trust anchors besides the system's.
    pub ca_file: FilePath,
    /// How long a project's ontology is believed before it is read again.
    pub ontology_ttl: Span,
    /// Bound on one call; those that carry a whole label row may take twice as long.
    pub timeout: Span,
}

impl Default for Encord {
    fn default() -> Self {
        Self {
            domain: BaseUrl("https://api.encord.com".into()),
            ssh_key_file: "/etc/edgelabel/encord_ed25519".into(),
            ssh_key_password_file: FilePath::default(),
            ca_file: FilePath::default(),
            ontology_ttl: Span::seconds(300),
            timeout: Span::seconds(15),
        }
    }
}

/// `[model]` and each `[models.NAME]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// An OpenAI-compatible endpoint.
    pub base_url: BaseUrl,
    /// The model's name there.
    pub name: String,
    /// File with the endpoint's key.
    pub api_key_file: FilePath,
    /// Header that carries the key, such as `api-key`; empty for `Authorization: Bearer`.
    pub api_key_header: String,
    /// PEM file with trust anchors besides the system's.
    pub ca_file: FilePath,
    /// Bound on one call.
    pub timeout: Span,
    /// Bound on the answer.
    pub max_answer_tokens: Within<16, 1_000_000>,
    /// How closely the model looks at the picture.
    pub detail: Detail,
    /// Longest side of a picture for this model, when smaller than `media.max_image_side`; 0 for no own bound.
    pub max_image_side: Within<0, 16_384>,
    /// JPEG quality of pictures for this model; 0 for `media.jpeg_quality`.
    pub jpeg_quality: Within<0, 100>,
    /// Calls at once; 0 for 1 at loopback and private addresses, 4 at public ones.
    pub max_concurrent: Within<0, 1024>,
    /// Tokens a day; 0 for no cap.
    pub daily_tokens: Within<0, { i64::MAX as u64 }>,
    /// Sampling temperature, 0 to 2; not sent when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<UpTo<2>>,
    /// How much a reasoning model thinks before it answers; not sent when empty.
    pub reasoning_effort: Effort,
    /// Projects whose pictures may go to this model; empty for all.
    pub allowed_projects: Vec<ProjectHash>,
    /// Names of `[models.NAME]` tables to try, in order, when this endpoint fails.
    pub fallback: Vec<String>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            base_url: BaseUrl("https://api.openai.com/v1".into()),
            name: "gpt-4o".into(),
            api_key_file: FilePath::default(),
            api_key_header: String::new(),
            ca_file: FilePath::default(),
            timeout: Span::seconds(40),
            max_answer_tokens: Within(1024),
            detail: Detail::Auto,
            max_image_side: Within(0),
            jpeg_quality: Within(0),
            max_concurrent: Within(0),
            daily_tokens: Within(0),
            temperature: None,
            reasoning_effort: Effort::Unsaid,
            allowed_projects: Vec::new(),
            fallback: Vec::new(),
        }
    }
}

/// `model.reasoning_effort`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// Left to the model: nothing is sent.
    #[serde(rename = "")]
    Unsaid,
    /// Not at all.
    None,
    /// As little as possible.
    Minimal,
    /// A little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
}

/// `model.detail`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// The endpoint chooses.
    Auto,
    /// A glance, few tokens.
    Low,
    /// Tiles of full resolution.
    High,
}

/// `[[agent]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Agent {
    /// The webhook's path.
    pub path: AgentPath,
    /// Titles or feature node hashes of the classifications to answer, or of classes of objects or their attributes;
    /// `["*"]` for all of the ontology.
    pub classification: Vec<String>,
    /// The frame's classifications, or the attributes of the selected objects.
    pub target: Target,
    /// Extra instructions for the model.
    pub prompt: String,
    /// Full prompt instead of the built-in one.
    pub template: String,
    /// Language of free text.
    pub language: String,
    /// What happens when the frame already has an answer.
    pub existing: Existing,
    /// What the annotator is told after a save.
    pub reply: Reply,
    /// Name of a `[models.NAME]` table; empty for `[model]`.
    pub model: String,
    /// Confidence that is written with each answer.
    pub confidence: UpTo<1>,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            path: AgentPath("/".into()),
            classification: vec!["Scene description".into()],
            target: Target::Frame,
            prompt: String::new(),
            template: String::new(),
            language: String::new(),
            existing: Existing::Replace,
            reply: Reply::Empty,
            model: String::new(),
            confidence: UpTo(0.5),
        }
    }
}

/// `agent.target`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The frame: its classifications.
    Frame,
    /// The selected objects: their attributes.
    Objects,
}

/// `agent.existing`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Existing {
    /// The new answer takes its place.
    Replace,
    /// It stays, and the model is not called.
    Keep,
    /// The trigger fails with a message.
    Fail,
}

/// `agent.reply`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// Nothing: the editor refreshes and shows the label.
    Empty,
    /// A sentence: what was answered.
    Summary,
}

/// `[[camera]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Camera {
    /// What people and addresses call it.
    pub name: CameraName,
    /// Path of the device, or its bus id.
    pub device: String,
    /// Which of the camera's formats is asked for.
    pub format: CameraFormat,
    /// Width and height to ask for; empty for the camera's own choice.
    pub size: PictureSize,
    /// Bound on one picture, the settling included.
    pub timeout: Span,
    /// How long the exposure may take to settle.
    pub settle: Span,
    /// JPEG quality of pictures that do not come as JPEG.
    pub jpeg_quality: Within<1, 100>,
    /// A picture is taken this often; empty for on demand only.
    pub interval: Maybe<Span>,
    /// The storage folder that pictures are uploaded to.
    pub folder: Maybe<FolderUuid>,
    /// The dataset that they are put into.
    pub dataset: Maybe<DatasetHash>,
    /// The agent that labels them there, by its path; empty for none.
    pub agent: Maybe<AgentPath>,
    /// The project in which it does.
    pub project: Maybe<ProjectHash>,
}

impl Default for Camera {
    fn default() -> Self {
        Self {
            name: CameraName::default(),
            device: String::new(),
            format: CameraFormat::Auto,
            size: PictureSize::default(),
            timeout: Span::seconds(10),
            settle: Span::seconds(2),
            jpeg_quality: Within(92),
            interval: Maybe::default(),
            folder: Maybe::default(),
            dataset: Maybe::default(),
            agent: Maybe::default(),
            project: Maybe::default(),
        }
    }
}

/// `camera.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CameraFormat {
    /// JPEG where the camera makes it, else raw.
    Auto,
    /// One JPEG a frame.
    Mjpeg,
    /// 4:2:2, packed.
    Yuyv,
    /// 4:2:0, planar.
    Nv12,
    /// 24 bits a pixel.
    Rgb,
}

/// `[media]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// Which video decoder is used.
    pub decoder: Decoder,
    /// Decode worker processes that are kept warm.
    pub workers: Within<1, 64>,
    /// Where parts of media files are kept.
    pub cache_dir: FilePath,
    /// Bound on that directory in bytes; 0 keeps nothing.
    pub cache_bytes: Size,
    /// Longest side of a picture for the model, in pixels.
    pub max_image_side: Within<64, 16_384>,
    /// Stills with more pixels are refused.
    pub max_pixels: Within<1, U32_MOST>,
    /// JPEG quality of the picture for the model.
    pub jpeg_quality: Within<1, 100>,
    /// PEM file with trust anchors for media links besides the system's.
    pub ca_file: FilePath,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            decoder: Decoder::Auto,
            workers: Within(2),
            cache_dir: "/var/cache/edgelabel".into(),
            cache_bytes: Size(1 << 30),
            max_image_side: Within(1536),
            max_pixels: Within(200_000_000),
            jpeg_quality: Within(90),
            ca_file: FilePath::default(),
        }
    }
}

/// `media.decoder`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decoder {
    /// Hardware where it works, else software.
    Auto,
    /// The processor.
    Software,
    /// Intel and AMD graphics.
    Vaapi,
    /// NVIDIA.
    Nvdec,
    /// Codec devices of the kernel, as on single-board computers.
    V4l2,
}

/// `[journal]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Journal {
    /// The database file.
    pub path: FilePath,
    /// Longest pause between two tries of a late save; the first is 5 s.
    pub retry_max: Span,
    /// Most answers that may wait.
    pub max_entries: Within<1, 1_000_000>,
    /// Most pictures of cameras that may wait.
    pub max_pictures: Within<1, 1_000_000>,
    /// Most bytes that they may have together.
    pub max_picture_bytes: Size,
    /// What gives way when there is no room for another picture.
    pub pictures_when_full: PicturesWhenFull,
}

/// `journal.pictures_when_full`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PicturesWhenFull {
    /// The oldest pictures.
    DropOldest,
    /// The new one.
    Refuse,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            path: "/var/lib/edgelabel/journal.db".into(),
            retry_max: Span::seconds(60),
            max_entries: Within(10_000),
            max_pictures: Within(1000),
            max_picture_bytes: Size(1 << 30),
            pictures_when_full: PicturesWhenFull::DropOldest,
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged.
    pub level: LogLevel,
    /// How it is written.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LogLevel("info".into()), format: LogFormat::Auto }
    }
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// The journal under systemd, else text on stderr.
    Auto,
    /// Text on stderr.
    Text,
    /// One JSON object a line on stderr.
    Json,
}
