//! The settings in the form that requests are judged by; replaced as a whole when the configuration is read again.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use super::auth::Signatures;
use super::cors::Origins;
use super::settings::{Limits, Network, Settings};
use crate::ids::{ProjectHash, Secret};

pub(super) struct Rules {
    pub(super) origins: Origins,
    pub(super) signatures: Signatures,
    pub(super) token: Option<Secret>,
    pub(super) limits: Limits,
    pub(super) request_budget: Duration,
    agent_paths: Vec<String>,
    projects: HashSet<ProjectHash>,
    clients: Vec<Network>,
}

impl Rules {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            origins: Origins::new(&settings.allowed_origins),
            signatures: Signatures::new(settings.webhook_secrets.clone(), settings.webhook_signature),
            token: settings.access_token.clone().filter(|token| !token.is_empty()),
            limits: settings.limits,
            request_budget: settings.request_budget,
            agent_paths: settings.agent_paths.clone(),
            projects: settings.allowed_projects.iter().cloned().collect(),
            clients: settings.allowed_clients.clone(),
        }
    }

    /// The agent at a path, by the path it is configured with.
    pub(super) fn agent_at(&self, path: &str) -> Option<&str> {
        self.agent_paths.iter().find(|known| *known == path).map(String::as_str)
    }

    pub(super) fn serves(&self, project: &ProjectHash) -> bool {
        self.projects.is_empty() || self.projects.contains(project)
    }

    pub(super) fn may_connect(&self, address: IpAddr) -> bool {
        self.clients.is_empty() || self.clients.iter().any(|network| network.contains(address))
    }
}
