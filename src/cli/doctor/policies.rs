//! What an administrator gives the annotators' browsers, ready to copy, by browser and system. `docs/browsers.md` says the
//! same with placeholders; `make browser-test` lets a real Chromium take the policy that is printed here.

use base64::Engine as _;
use serde_json::{Value, json};

use super::Check;

/// What the policies are made of.
pub(super) struct Site<'a> {
    /// Pages that call the box.
    pub(super) origins: Vec<&'a str>,
    /// The box's own authority: its file on the box and its DER.
    pub(super) anchor: Option<(String, Vec<u8>)>,
    /// Where the admin address offers it.
    pub(super) admin: String,
}

/// Where the authority's certificate is put on a station, so that Firefox finds it: `Certificates` → `Install` wants a whole
/// path, and these places are readable by everyone who logs in there.
const ON_STATIONS: [(&str, &str, &str); 3] = [
    ("Linux", "/etc/firefox/policies/policies.json", "/usr/local/share/ca-certificates/edgelabel.crt"),
    ("Windows", r"C:\Program Files\Mozilla Firefox\distribution\policies.json", r"C:\ProgramData\edgelabel\ca.pem"),
    ("macOS", "/Applications/Firefox.app/Contents/Resources/distribution/policies.json", "/Library/Application Support/edgelabel/ca.pem"),
];

/// One check for what all need, and one for each kind of browser.
pub(super) fn checks(site: &Site<'_>) -> Vec<Check> {
    vec![
        Check::ok("browsers", needs(site)),
        Check::ok("browsers: trust", trust()),
        Check::ok("browsers: Chrome and Edge", chrome_and_edge(site)),
        Check::ok("browsers: Firefox", firefox(site)),
        Check::ok("browsers: Safari", SAFARI),
    ]
}

const SAFARI: &str = "trusts what the system trusts (above; iPads: by a profile, then Settings, General, About, Certificate Trust Settings) and \
                      asks for no permission of its own; on macOS 15 and newer the system asks once for every other browser: System \
                      Settings, Privacy & Security, Local Network";

fn needs(site: &Site<'_>) -> String {
    let file = site.anchor.as_ref().map_or("the certificate's authority", |(path, _)| path);
    format!(
        "annotators' stations need two things, by hand or by an administrator's policy:\n\
         1. trust in this box's certificate: {file} as a trusted authority (also at http://{}/ca.crt on the box)\n\
         2. permission to reach the local network: annotators are asked once and must click Allow",
        site.admin
    )
}

fn trust() -> String {
    [
        "with ca.pem at hand on the station",
        "Windows, as administrator: certutil -addstore -f Root ca.pem",
        "Windows, domain: Group Policy, Computer Configuration, Windows Settings, Security Settings, Public Key Policies, Trusted Root \
         Certification Authorities",
        "macOS: sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ca.pem",
        "macOS and iPadOS, managed: a configuration profile with ca.pem as certificate payload",
        "Debian, Ubuntu: sudo cp ca.pem /usr/local/share/ca-certificates/edgelabel.crt && sudo update-ca-certificates",
        "Fedora, RHEL: sudo cp ca.pem /etc/pki/ca-trust/source/anchors/edgelabel.pem && sudo update-ca-trust",
        "Chrome on Linux, without the policy below: certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n edgelabel -i ca.pem",
    ]
    .join("\n")
}

fn chrome_and_edge(site: &Site<'_>) -> String {
    let numbered = || site.origins.iter().enumerate().map(|(index, origin)| (index + 1, origin));
    let registry = |vendor: &'static str| {
        numbered().map(move |(number, origin)| {
            format!(r"reg add HKLM\SOFTWARE\Policies\{vendor}\LocalNetworkAccessAllowedForUrls /v {number} /t REG_SZ /d {origin} /f")
        })
    };
    let plist: String = site.origins.iter().map(|origin| format!("<string>{origin}</string>")).collect();
    let mut lines = vec![
        "Linux, as /etc/opt/chrome/policies/managed/edgelabel.json (Chromium: /etc/chromium/policies/managed/, Edge: \
         /etc/opt/edge/policies/managed/):"
            .to_owned(),
        chromium_policy(site).to_string(),
        "Windows, as administrator, or the same values by Group Policy or Intune (trust comes from the system):".to_owned(),
    ];
    lines.extend(registry(r"Google\Chrome").chain(registry(r"Microsoft\Edge")));
    lines.push("macOS, in a configuration profile for com.google.Chrome and com.microsoft.Edge (trust comes from the system):".to_owned());
    lines.push(format!("<key>LocalNetworkAccessAllowedForUrls</key><array>{plist}</array>"));
    lines.push(
        "managed by the Google Admin console: the same names and values; chrome://policy and edge://policy show what is in force"
            .to_owned(),
    );
    lines.join("\n")
}

/// Both addresses in the local network and the box itself, and the trust anchor.
fn chromium_policy(site: &Site<'_>) -> Value {
    let mut policy = json!({ "LocalNetworkAccessAllowedForUrls": site.origins });
    if let Some((_, der)) = &site.anchor {
        policy["CACertificates"] = json!([base64::engine::general_purpose::STANDARD.encode(der)]);
    }
    policy
}

fn firefox(site: &Site<'_>) -> String {
    let mut lines = vec!["version 150 and ESR 140.11 and newer; with ca.pem put where the policy names it:".to_owned()];
    for (system, file, anchor) in ON_STATIONS {
        lines.push(format!("{system}, as {file}:"));
        lines.push(firefox_policy(site, anchor).to_string());
    }
    lines.push(
        "about:policies shows what is in force; the same keys by Group Policy, Intune or a profile for org.mozilla.firefox".to_owned(),
    );
    lines.join("\n")
}

fn firefox_policy(site: &Site<'_>, anchor: &str) -> Value {
    let hosts: Vec<&str> = site.origins.iter().filter_map(|origin| origin.split_once("://")).map(|(_, host)| host).collect();
    let mut policies = json!({ "LocalNetworkAccess": { "SkipDomains": hosts } });
    if site.anchor.is_some() {
        policies["Certificates"] = json!({ "ImportEnterpriseRoots": true, "Install": [anchor] });
    }
    json!({ "policies": policies })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site<'static> {
        Site {
            origins: vec!["https://app.encord.com", "https://labels.example.org:8443"],
            anchor: Some(("/etc/edgelabel/certs/ca.pem".into(), vec![1, 2, 3])),
            admin: "127.0.0.1:9464".into(),
        }
    }

    fn said(name: &str) -> String {
        checks(&site()).into_iter().find(|check| check.name == name).unwrap().detail
    }

    #[test]
    fn chrome_and_edge_get_pages_and_anchor_on_every_system() {
        let said = said("browsers: Chrome and Edge");
        let policy: Value = serde_json::from_str(said.lines().find(|line| line.starts_with('{')).unwrap()).unwrap();
        assert_eq!(
            policy,
            json!({
                "LocalNetworkAccessAllowedForUrls": ["https://app.encord.com", "https://labels.example.org:8443"],
                "CACertificates": ["AQID"],
            })
        );
        for command in [
            r"reg add HKLM\SOFTWARE\Policies\Google\Chrome\LocalNetworkAccessAllowedForUrls /v 1 /t REG_SZ /d https://app.encord.com /f",
            r"reg add HKLM\SOFTWARE\Policies\Microsoft\Edge\LocalNetworkAccessAllowedForUrls /v 2 /t REG_SZ /d https://labels.example.org:8443 /f",
            "<array><string>https://app.encord.com</string><string>https://labels.example.org:8443</string></array>",
        ] {
            assert!(said.lines().any(|line| line.ends_with(command)), "{command}\n{said}");
        }
    }

    #[test]
    fn firefox_gets_the_certificate_by_its_whole_path_on_the_station() {
        let policies: Vec<Value> = said("browsers: Firefox")
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(policies.len(), 3);
        for policy in &policies {
            assert_eq!(policy["policies"]["LocalNetworkAccess"]["SkipDomains"], json!(["app.encord.com", "labels.example.org:8443"]));
            let path = policy["policies"]["Certificates"]["Install"][0].as_str().unwrap();
            assert!(path.starts_with('/') || path.starts_with(r"C:\"), "{path}");
        }
    }

    #[test]
    fn without_an_authority_of_its_own_the_box_asks_for_permission_only() {
        let site = Site { anchor: None, ..site() };
        let said: String = checks(&site).into_iter().map(|check| check.detail + "\n").collect();
        assert!(!said.contains("\"CACertificates\"") && !said.contains("\"Install\""));
        assert!(said.contains("LocalNetworkAccessAllowedForUrls") && said.contains("SkipDomains"));
    }

    #[test]
    fn the_documentation_names_the_same_places() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/browsers.md")).unwrap();
        for (_, file, anchor) in ON_STATIONS {
            assert!(docs.contains(file) && docs.contains(&anchor.replace('\\', r"\\")), "{file} or {anchor}");
        }
        for place in ["/etc/opt/chrome/policies/managed/", "/etc/chromium/policies/managed/", "/etc/opt/edge/policies/managed/"] {
            assert!(docs.contains(place) && said("browsers: Chrome and Edge").contains(place), "{place}");
        }
        // Every command of the trust check stands in the table there.
        let trust = trust();
        let commands = trust.lines().filter_map(|line| line.split_once(": ")).map(|(_, command)| command);
        let commands: Vec<_> = commands.filter(|command| command.starts_with("sudo ") || command.starts_with("certutil ")).collect();
        assert_eq!(commands.len(), 5);
        for command in commands {
            assert!(docs.contains(command), "{command}");
        }
    }
}
