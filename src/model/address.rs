//! Where an endpoint's chat completions are, whatever part of the address was configured.

use url::Url;

use crate::http;

use super::Error;

/// The version of Azure's interface asked for when a deployment's address names none.
const AZURE_VERSION: &str = "2024-10-21";

/// The addresses of one endpoint.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// Host and, where it is not the usual one, port: for messages.
    pub(super) host: String,
    /// Where chat completions are, likeliest first: some servers have them under `/v1`, some do not.
    pub(super) chat: Vec<String>,
    /// Azure takes its key in a header of its own.
    pub(super) azure: bool,
    base: Url,
}

impl Address {
    /// Reads `base_url` of table `section`, such as `[model]`.
    pub(super) fn new(base_url: &str, section: &str) -> Result<Self, Error> {
        let wrong = |cause: String| Error::Unaskable(format!("{section} base_url: {cause}"));
        let base: Url = base_url.trim().parse().map_err(|error: url::ParseError| wrong(error.to_string()))?;
        let name = base.host_str().ok_or_else(|| wrong("names no host".into()))?.to_owned();
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong(format!("{}:// is not supported, only https:// and http://", base.scheme())));
        }
        let host = base.port().map_or_else(|| name.clone(), |port| format!("{name}:{port}"));
        let azure = [".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com", ".openai.azure.us"]
            .iter()
            .any(|suffix| name.ends_with(suffix));
        let chat = chat_addresses(&base, azure);
        Ok(Self { host, chat, azure, base })
    }

    /// Where the list of models usually is.
    pub(super) fn models(&self) -> String {
        self.chat[0].replacen("/chat/completions", "/models", 1)
    }

    /// Whether the endpoint is on this box or in its own network. Looks the name up.
    pub(super) fn is_private(&self) -> bool {
        http::is_private(&self.base)
    }
}

fn chat_addresses(base: &Url, azure: bool) -> Vec<String> {
    const CHAT: &str = "/chat/completions";
    let path = base.path().trim_end_matches('/');
    let paths = if path.ends_with(CHAT) {
        vec![path.to_owned()]
    } else if path.contains("/deployments/") {
        vec![format!("{path}{CHAT}")]
    } else if azure && path.is_empty() {
        vec![format!("/openai/v1{CHAT}")]
    } else if azure && path.ends_with("/openai") {
        vec![format!("{path}/v1{CHAT}"), format!("{path}{CHAT}")]
    } else if path.is_empty() {
        vec![format!("/v1{CHAT}"), CHAT.to_owned()]
    } else if let Some(bare) = path.strip_suffix("/v1") {
        vec![format!("{path}{CHAT}"), format!("{bare}{CHAT}")]
    } else {
        vec![format!("{path}{CHAT}"), format!("{path}/v1{CHAT}")]
    };
    let versioned = base.query_pairs().any(|(name, _)| name == "api-version");
    paths
        .into_iter()
        .map(|path| {
            let mut url = base.clone();
            url.set_path(&path);
            url.set_fragment(None);
            if path.contains("/deployments/") && !versioned {
                url.query_pairs_mut().append_pair("api-version", AZURE_VERSION);
            }
            url.into()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(base: &str) -> Vec<String> {
        Address::new(base, "[model]").unwrap().chat
    }

    #[test]
    fn any_shape_of_base_url_leads_to_the_chat_completions() {
        for (base, first) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
            ("https://api.openai.com/v1/", "https://api.openai.com/v1/chat/completions"),
            ("https://api.openai.com", "https://api.openai.com/v1/chat/completions"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1/chat/completions"),
            ("http://box.lan:4000/proxy", "http://box.lan:4000/proxy/chat/completions"),
            ("http://box.lan/v1/chat/completions", "http://box.lan/v1/chat/completions"),
            ("https://x.openai.azure.com", "https://x.openai.azure.com/openai/v1/chat/completions"),
            ("https://x.openai.azure.com/openai/v1/", "https://x.openai.azure.com/openai/v1/chat/completions"),
            (
                "https://x.openai.azure.com/openai/deployments/gpt4o",
                "https://x.openai.azure.com/openai/deployments/gpt4o/chat/completions?api-version=2024-10-21",
            ),
            (
                "https://x.openai.azure.com/openai/deployments/gpt4o/chat/completions?api-version=2025-01-01-preview",
                "https://x.openai.azure.com/openai/deployments/gpt4o/chat/completions?api-version=2025-01-01-preview",
            ),
        ] {
            assert_eq!(chat(base)[0], first, "{base}");
        }
        assert_eq!(chat("http://10.0.0.1:1234/api")[1], "http://10.0.0.1:1234/api/v1/chat/completions");
    }

    #[test]
    fn what_is_no_web_address_is_refused_by_its_setting() {
        for wrong in ["", "api.openai.com/v1", "ftp://x/", "file:///v1"] {
            let error = Address::new(wrong, "[models.local]").unwrap_err().to_string();
            assert!(error.starts_with("[models.local] base_url: "), "{error}");
        }
    }
}
