//! The ways to the outside: trust anchors, and where the key of Encord may come from.

use ssh_key::{Cipher, Kdf, LineEnding, PrivateKey};

use crate::spine::World;
use crate::support::daemon::write_private;
use crate::support::tls::LocalCertificate;

#[test]
fn an_authority_of_ones_own_is_trusted_where_it_is_configured() {
    let certificate = LocalCertificate::new();
    let world = World::on_https(&certificate);
    let setup = world
        .setup()
        .set("encord", "ca_file", "\"upstream.pem\"")
        .set("model", "ca_file", "\"upstream.pem\"")
        .set("media", "ca_file", "\"upstream.pem\"")
        .agent("/", "Scene description", "");
    std::fs::write(setup.folder().join("upstream.pem"), &certificate.authority_pem).unwrap();
    let daemon = setup.start();
    world.click(&daemon, "/", &world.fixture.video, 4);
}

#[test]
fn an_unknown_authority_is_502_and_says_that_it_is_about_tls() {
    let certificate = LocalCertificate::new();
    let world = World::on_https(&certificate);
    let daemon = world.setup().agent("/", "Scene description", "").start();
    let answer = daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0);
    assert_eq!(answer.status, 502, "{answer:?}");
    assert!(answer.message().contains("TLS"), "{answer:?}");
}

#[test]
fn the_key_may_come_from_the_variables_of_old() {
    let world = World::new();
    let text = world.fixture.key.private_text.clone();
    let one_line = text.replace('\n', " ");
    for key in [text.clone(), text.replace('\n', "\r\n"), one_line] {
        let setup = world.setup().unset("encord", "ssh_key_file").unset("encord", "domain");
        let setup = setup.environment("ENCORD_SSH_KEY", key).environment("ENCORD_DOMAIN", format!("{}/", world.fixture.backend.url()));
        let daemon = setup.agent("/", "Scene description", "").start();
        world.click(&daemon, "/", &world.fixture.image, 0);
    }
}

#[test]
fn a_key_with_a_passphrase_is_opened_with_it_and_without_it_is_wrong_configuration() {
    let world = World::new();
    let plain = PrivateKey::from_openssh(&world.fixture.key.private_text).unwrap();
    // As ssh-keygen does it: bcrypt, 16 rounds, AES-256 in counter mode.
    let locked = plain.encrypt_with(Cipher::Aes256Ctr, Kdf::Bcrypt { salt: vec![7; 16], rounds: 16 }, 77, "open sesame").unwrap();
    let locked = locked.to_openssh(LineEnding::LF).unwrap();
    let setup = world.setup().agent("/", "Scene description", "");
    write_private(&setup.folder().join("encord_key"), &locked);
    setup.write();
    let refused = setup.command(&["run", "--config"]).arg(setup.config_file()).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(78), "{said}");
    assert!(said.contains("ssh_key_password_file"), "{said}");
    assert!(!said.contains(locked.lines().nth(2).unwrap()), "the key is shown");

    let setup = setup.set("encord", "ssh_key_password_file", "\"passphrase\"");
    write_private(&setup.folder().join("passphrase"), "open sesame\n");
    let daemon = setup.start();
    world.click(&daemon, "/", &world.fixture.image, 0);
}
