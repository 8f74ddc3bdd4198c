//! The files that a configuration names: whether they are there, can be read, and are kept from others.

use std::path::Path;

use super::problem::{Invalid, Problem};
use super::value::FilePath;
use super::{Config, secret, strict};
use crate::ids::Secret;

impl Config {
    /// Everything the daemon needs can be made: reads all key files and looks at all named files.
    ///
    /// # Errors
    /// All that is missing, unreadable or empty.
    pub fn ready(&mut self) -> Result<(), Invalid> {
        let mut problems = Vec::new();
        let mut note = |result: Result<(), Invalid>| problems.extend(result.err().map(|invalid| invalid.problems).unwrap_or_default());
        note(self.encord().map(drop));
        note(self.models().map(drop));
        note(self.access_token().map(drop));
        note(self.webhook_secrets().map(drop));
        note(self.admin().map(drop));
        problems.extend(self.unreadable_anchors());
        self.warnings.extend(self.doubtful_files());
        Invalid::unless_none(problems)
    }

    pub(super) fn secret(&self, key: &str, file: &FilePath) -> Result<Option<Secret>, Problem> {
        match (self.inline.get(key), file.get()) {
            (Some(secret), _) => Ok(Some(secret.clone())),
            (None, Some(path)) => secret::read(path).map(|found| Some(found.secret)).map_err(|what| self.problem(key, what)),
            (None, None) => Ok(None),
        }
    }

    /// Where a secret is, for people who have to mend it: a file with the key that names it, a variable, a credential.
    pub(super) fn place(&self, key: &str, file: &FilePath) -> String {
        match file.get() {
            _ if self.inline.contains_key(key) => self.origin(key).trim_start_matches(strict::ENVIRONMENT).to_owned(),
            Some(path) => format!("{} ({key})", path.display()),
            None => key.to_owned(),
        }
    }

    fn unreadable_anchors(&self) -> Vec<Problem> {
        let mut named = vec![
            ("encord.ca_file".to_owned(), &self.file.encord.ca_file),
            ("media.ca_file".to_owned(), &self.file.media.ca_file),
            ("server.tls.client_ca".to_owned(), &self.file.server.tls.client_ca),
        ];
        named.extend(self.all_models().map(|(table, model)| (format!("{}.ca_file", Self::model_key(table)), &model.ca_file)));
        let wrong = |(key, file): (String, &FilePath)| {
            let path = file.get()?;
            let error = std::fs::File::open(path).err()?;
            Some(self.problem(&key, format!("{} cannot be read: {error}", path.display())))
        };
        named.into_iter().filter_map(wrong).collect()
    }

    /// Key files that others can read, and a certificate that is still to be made.
    fn doubtful_files(&self) -> Vec<Problem> {
        let server = &self.file.server;
        let mut secrets = vec![
            ("encord.ssh_key_file".to_owned(), &self.file.encord.ssh_key_file),
            ("encord.ssh_key_password_file".to_owned(), &self.file.encord.ssh_key_password_file),
            ("server.access_token_file".to_owned(), &server.access_token_file),
            ("server.webhook_secret_file".to_owned(), &server.webhook_secret_file),
            ("admin.token_file".to_owned(), &self.file.admin.token_file),
            ("server.tls.private_key".to_owned(), &server.tls.private_key),
        ];
        secrets.extend(self.all_models().map(|(table, model)| (format!("{}.api_key_file", Self::model_key(table)), &model.api_key_file)));
        let mut found = Vec::new();
        for (key, file) in secrets {
            let read = file.get().filter(|_| !self.inline.contains_key(key.as_str())).map(secret::read);
            if let Some(what) = read.and_then(|read| read.ok()?.warning) {
                found.push(self.problem(&key, what));
            }
        }
        for (key, file) in [("server.tls.certificate", &server.tls.certificate), ("server.tls.private_key", &server.tls.private_key)] {
            let missing = file.get().filter(|path| !Path::exists(path));
            if let Some(path) = missing {
                let what = format!("{} does not exist: make it with `edgelabel cert init --name HOST`, or name your own", path.display());
                found.push(self.problem(key, what));
            }
        }
        found
    }
}
