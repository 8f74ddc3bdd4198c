//! Each part's own settings, made from the merged configuration. Key files are read here, when a part needs them.

use std::time::Duration;

use super::file::{self, Decoder, Detail, Effort, LogFormat, WebhookSignature};
use super::problem::{Invalid, Problem};
use super::{Config, strict};
use crate::ids::Secret;
use crate::telemetry::{Format, LogSettings};
use crate::{agent, camera, encord, http, journal, media, model, server};

impl Config {
    /// Settings for [`encord::Encord`].
    ///
    /// # Errors
    /// There is no key, or its file cannot be used.
    pub fn encord(&self) -> Result<encord::Settings, Invalid> {
        let written = &self.file.encord;
        let key = "encord.ssh_key_file";
        let missing =
            written.ssh_key_file.get().filter(|path| !self.inline.contains_key(key) && path.try_exists().is_ok_and(|there| !there));
        let found = if missing.is_some() { None } else { self.secret(key, &written.ssh_key_file)? };
        let Some(ssh_key) = found else {
            let named = missing.map_or(String::new(), |path| format!("{} does not exist; ", path.display()));
            let what = format!(
                "there is no Encord key: {named}name a file with an OpenSSH Ed25519 private key whose public half is registered at Encord \
                 (ssh-keygen -t ed25519 makes one), or give it as the systemd credential encord_ssh_key, or set the variable \
                 ENCORD_SSH_KEY_FILE or ENCORD_SSH_KEY"
            );
            return Err(self.problem(key, what).into());
        };
        Ok(encord::Settings {
            domain: written.domain.0.clone(),
            ssh_key,
            ssh_key_origin: self.place(key, &written.ssh_key_file),
            ssh_key_password: self.secret("encord.ssh_key_password_file", &written.ssh_key_password_file)?,
            ca_file: written.ca_file.owned(),
            ontology_ttl: written.ontology_ttl.0,
            timeout: written.timeout.0,
        })
    }

    /// Settings for [`media::Media`].
    pub fn media(&self) -> media::Settings {
        let written = &self.file.media;
        let decoder = match written.decoder {
            Decoder::Auto => "auto",
            Decoder::Software => "software",
            Decoder::Vaapi => "vaapi",
            Decoder::Nvdec => "nvdec",
            Decoder::V4l2 => "v4l2",
        };
        media::Settings {
            decoder: decoder.into(),
            cache_dir: written.cache_dir.0.clone(),
            cache_bytes: written.cache_bytes.0,
            max_image_side: written.max_image_side.0 as u32,
            max_pixels: written.max_pixels.0,
            jpeg_quality: written.jpeg_quality.0 as u8,
            http: http::Settings { ca_file: written.ca_file.owned(), ..Default::default() },
            workers: written.workers.0 as usize,
            program: std::env::current_exe().unwrap_or_else(|_| "/usr/bin/edgelabel".into()),
        }
    }

    /// Settings for [`model::Models`]: `[model]` first, then the `[models.NAME]` tables.
    ///
    /// # Errors
    /// A key file cannot be used, or OpenAI's own endpoint has no key.
    pub fn models(&self) -> Result<Vec<model::Settings>, Invalid> {
        let mut problems = Vec::new();
        let mut endpoints = Vec::new();
        for (table, written) in self.all_models() {
            match self.endpoint(table, written) {
                Ok(endpoint) => endpoints.push(endpoint),
                // The default endpoint may lack its key when every agent uses another one.
                Err(_) if table.is_empty() && !self.default_model_is_used() => {}
                Err(invalid) => problems.extend(invalid.problems),
            }
        }
        Invalid::unless_none(problems)?;
        Ok(endpoints)
    }

    fn endpoint(&self, table: &str, written: &file::Model) -> Result<model::Settings, Invalid> {
        let key = format!("{}.api_key_file", Self::model_key(table));
        let api_key = self.secret(&key, &written.api_key_file)?;
        let host = written.base_url.url().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let others =
            if table.is_empty() { ", or give it as the systemd credential model_api_key, or set the variable OPENAI_API_KEY" } else { "" };
        if api_key.is_none() && host == "api.openai.com" {
            return Err(Problem::new("", key, format!("there is no key for {host}: name a file that holds it{others}")).into());
        }
        let api_key_setting = if api_key.is_some() { self.place(&key, &written.api_key_file) } else { key };
        let detail = match written.detail {
            Detail::Auto => "auto",
            Detail::Low => "low",
            Detail::High => "high",
        };
        let reasoning_effort = match written.reasoning_effort {
            Effort::Unsaid => "",
            Effort::None => "none",
            Effort::Minimal => "minimal",
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
        };
        Ok(model::Settings {
            table: table.to_owned(),
            base_url: written.base_url.0.clone(),
            name: written.name.clone(),
            api_key,
            api_key_setting,
            ca_file: written.ca_file.owned(),
            timeout: written.timeout.0,
            max_answer_tokens: written.max_answer_tokens.0 as u32,
            detail: detail.into(),
            max_image_side: written.max_image_side.0 as u32,
            jpeg_quality: written.jpeg_quality.0 as u8,
            max_concurrent: written.max_concurrent.0 as usize,
            daily_tokens: written.daily_tokens.0,
            reasoning_effort: reasoning_effort.into(),
            temperature: written.temperature.map(|temperature| temperature.0),
            api_key_header: written.api_key_header.clone(),
            allowed_projects: written.allowed_projects.clone(),
            fallback: written.fallback.clone(),
        })
    }

    /// The agents, in order of path.
    pub fn agents(&self) -> Vec<agent::Settings> {
        let settings = |written: &file::Agent| agent::Settings {
            path: written.path.0.clone(),
            classification: written.classification.clone(),
            target: match written.target {
                file::Target::Frame => agent::Target::Frame,
                file::Target::Objects => agent::Target::Objects,
            },
            prompt: written.prompt.clone(),
            template: written.template.clone(),
            language: written.language.clone(),
            existing: match written.existing {
                file::Existing::Replace => agent::Existing::Replace,
                file::Existing::Keep => agent::Existing::Keep,
                file::Existing::Fail => agent::Existing::Fail,
            },
            reply: match written.reply {
                file::Reply::Empty => agent::ReplyStyle::Empty,
                file::Reply::Summary => agent::ReplyStyle::Summary,
            },
            model: written.model.clone(),
            confidence: written.confidence.0,
        };
        self.file.agent.values().map(settings).collect()
    }

    /// The cameras, in order of name.
    pub fn cameras(&self) -> Vec<camera::Settings> {
        let settings = |written: &file::Camera| camera::Settings {
            name: written.name.0.clone(),
            device: written.device.clone(),
            format: match written.format {
                file::CameraFormat::Auto => camera::Format::Auto,
                file::CameraFormat::Mjpeg => camera::Format::Mjpeg,
                file::CameraFormat::Yuyv => camera::Format::Yuyv,
                file::CameraFormat::Nv12 => camera::Format::Nv12,
                file::CameraFormat::Rgb => camera::Format::Rgb,
            },
            size: written.size.0,
            timeout: written.timeout.0,
            settle: written.settle.0,
            jpeg_quality: written.jpeg_quality.0 as u8,
        };
        self.file.camera.values().map(settings).collect()
    }

    /// Where a camera's pictures go at Encord; `None` when they stay here.
    pub fn shelf(&self, camera: &str) -> Option<encord::Shelf> {
        let written = self.file.camera.values().find(|written| written.name.0 == camera)?;
        Some(encord::Shelf { folder: written.folder.0.clone()?, dataset: written.dataset.0.clone()? })
    }

    /// Who labels a camera's pictures, and in which project; `None` when nobody does.
    pub fn labelling(&self, camera: &str) -> Option<journal::Labelling> {
        let written = self.file.camera.values().find(|written| written.name.0 == camera)?;
        Some(journal::Labelling { agent: written.agent.0.clone()?.0, project: written.project.0.clone()? })
    }

    /// How often a picture is taken with a camera unasked; `None` for on demand only.
    pub fn interval(&self, camera: &str) -> Option<Duration> {
        let written = self.file.camera.values().find(|written| written.name.0 == camera)?;
        written.interval.0.map(|interval| interval.0)
    }

    /// Bounds of the trigger pool.
    pub fn pool(&self) -> agent::PoolLimits {
        let written = &self.file.server;
        agent::PoolLimits { concurrent: written.max_concurrent_triggers.0 as usize, waiting: written.max_waiting_triggers.0 as usize }
    }

    /// What is logged, and how.
    pub fn log(&self) -> LogSettings {
        let format = match self.file.log.format {
            LogFormat::Auto => Format::Auto,
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        };
        LogSettings { level: self.file.log.level.0.clone(), format }
    }

    /// Settings for [`journal::Journal`].
    pub fn journal(&self) -> journal::Settings {
        let written = &self.file.journal;
        journal::Settings {
            path: written.path.0.clone(),
            retry_max: written.retry_max.0,
            max_entries: written.max_entries.0 as usize,
            max_pictures: written.max_pictures.0 as usize,
            max_picture_bytes: written.max_picture_bytes.0,
            when_full: match written.pictures_when_full {
                file::PicturesWhenFull::DropOldest => journal::WhenFull::DropOldest,
                file::PicturesWhenFull::Refuse => journal::WhenFull::Refuse,
            },
        }
    }

    /// Settings of the HTTPS door.
    ///
    /// # Errors
    /// A file with a token or secrets cannot be used.
    pub fn server(&self) -> Result<server::Settings, Invalid> {
        let written = &self.file.server;
        Ok(server::Settings {
            listen: written.listen.iter().map(|address| address.0).collect(),
            tls: server::TlsSettings {
                certificate: written.tls.certificate.0.clone(),
                private_key: written.tls.private_key.0.clone(),
                client_ca: written.tls.client_ca.owned(),
            },
            request_budget: written.request_budget.0,
            shutdown_grace: written.shutdown_grace.0,
            allowed_origins: written.allowed_origins.iter().map(|origin| origin.0.clone()).collect(),
            allowed_projects: written.allowed_projects.clone(),
            allowed_clients: written.allowed_clients.iter().map(|network| network.0).collect(),
            access_token: self.access_token()?,
            webhook_secrets: self.webhook_secrets()?,
            webhook_signature: match written.webhook_signature {
                WebhookSignature::WhenPresent => server::SignaturePolicy::WhenPresent,
                WebhookSignature::Required => server::SignaturePolicy::Required,
            },
            agent_paths: self.file.agent.values().map(|agent| agent.path.0.clone()).collect(),
            limits: limits(&written.limits),
        })
    }

    /// Settings of the admin address.
    ///
    /// # Errors
    /// The token's file cannot be used, or others could reach the address without one.
    pub fn admin(&self) -> Result<server::AdminSettings, Invalid> {
        let written = &self.file.admin;
        let token = self.secret("admin.token_file", &written.token_file)?;
        let admin = server::AdminSettings { listen: written.listen.0, token };
        admin.check().map_err(|what| self.problem("admin.listen", what))?;
        Ok(admin)
    }

    /// The token that webhook paths begin with, if one is set.
    ///
    /// # Errors
    /// The file cannot be used, or the token cannot stand in a path.
    pub fn access_token(&self) -> Result<Option<Secret>, Invalid> {
        let key = "server.access_token_file";
        let token = self.secret(key, &self.file.server.access_token_file)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        match &token {
            Some(token) if !token.expose().bytes().all(plain) => {
                Err(self.problem(key, "the token must be of letters, digits and - . _ ~ only, as it stands in an address").into())
            }
            Some(token) if token.expose().len() < 16 => {
                let what =
                    "the token is too short to be unguessable: make one of at least 16 characters, such as with `openssl rand -hex 24`";
                Err(self.problem(key, what).into())
            }
            _ => Ok(token),
        }
    }

    /// The secrets that webhook signatures may be made with; none when signatures are not looked at.
    ///
    /// # Errors
    /// The file cannot be used, or holds nothing but comments: signatures would then be taken unseen.
    pub fn webhook_secrets(&self) -> Result<Vec<Secret>, Invalid> {
        let key = "server.webhook_secret_file";
        let Some(lines) = self.secret(key, &self.file.server.webhook_secret_file)? else { return Ok(Vec::new()) };
        let secrets = server::settings::secrets_in(lines.expose());
        if secrets.is_empty() {
            let what = "there is no secret in it, only comments: put one of the agent's webhook secrets on a line of its own";
            return Err(self.problem(key, what).into());
        }
        Ok(secrets)
    }

    /// `[model]` under the name `""`, then the `[models.NAME]` tables.
    pub(super) fn all_models(&self) -> impl Iterator<Item = (&str, &file::Model)> {
        std::iter::once(("", &self.file.model)).chain(self.file.models.iter().map(|(name, model)| (name.as_str(), model)))
    }

    pub(super) fn model_key(table: &str) -> String {
        if table.is_empty() { "model".into() } else { format!("models.{}", strict::shown(table)) }
    }

    fn default_model_is_used(&self) -> bool {
        self.file.agent.values().any(|agent| agent.model.is_empty())
    }
}

fn limits(written: &file::Limits) -> server::Limits {
    server::Limits {
        handshake_time: written.handshake_time.0,
        first_byte_time: written.first_byte_time.0,
        header_time: written.header_time.0,
        header_bytes: written.header_bytes.0 as usize,
        body_time: written.body_time.0,
        body_bytes: written.body_bytes.0 as usize,
        idle_time: written.idle_time.0,
        write_time: written.write_time.0,
        connections: written.connections.0 as usize,
        connections_per_address: written.connections_per_address.0 as usize,
        streams_per_connection: written.streams_per_connection.0 as u32,
        requests_per_connection: written.requests_per_connection.0,
        triggers_per_address: written.triggers_per_address.0 as u32,
        triggers_per_project: written.triggers_per_project.0 as u32,
    }
}
