//! Every step of `docs/integration.md` is run, and prints what the page says.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// Printed behind the output of each block.
const MARK: &str = "@@ end of block";

/// A block of commands, and what it prints if the page says it.
struct Step {
    commands: String,
    printed: Option<String>,
}

/// The steps below each heading of the second level.
fn sections(page: &str) -> Vec<(String, Vec<Step>)> {
    let mut sections = Vec::new();
    for section in page.split("\n## ").skip(1) {
        let heading = section.lines().next().unwrap().to_owned();
        let mut steps: Vec<Step> = Vec::new();
        for (place, block) in section.split("```").enumerate() {
            match (place % 2, block.strip_prefix("sh\n")) {
                (1, Some(commands)) => {
                    steps.push(Step { commands: commands.to_owned(), printed: None });
                }
                (1, None) => steps.last_mut().unwrap().printed = Some(block[1..].to_owned()),
                _ => {}
            }
        }
        sections.push((heading, steps));
    }
    sections
}

/// Runs the steps in a shell and a folder of their own; what each printed.
fn run(steps: &[Step]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut script = String::from("set -euo pipefail\ntrap 'kill $(jobs -p)' EXIT\n");
    for step in steps {
        script.push_str(&step.commands.replace(":8080", &format!(":{port}")));
        script.push_str(&format!("printf '\\n{MARK}\\n'\n"));
    }
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_optout"));
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash")
        .current_dir(folder.path())
        .env("PATH", path)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("OPTOUT_STORE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the page needs bash, curl and openssl");
    shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    let (out, error) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
    let out = String::from_utf8(out).unwrap();
    let log = std::fs::read_to_string(folder.path().join("serve.log")).unwrap_or_default();
    assert!(output.status.success(), "{out}\n{error}\n{log}");
    out.split(MARK).map(|printed| printed.trim().to_owned()).collect()
}

#[test]
fn every_step_of_connecting_a_provider_works_as_the_page_says() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/integration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut compared = 0;
    for (heading, steps) in sections(&page) {
        let printed = run(&steps);
        for (step, printed) in steps.iter().zip(printed) {
            if let Some(expected) = &step.printed {
                assert_eq!(printed, expected.trim(), "{heading}:\n{}", step.commands);
                compared += 1;
            }
        }
    }
    assert!(compared >= 8, "{compared}");
}
