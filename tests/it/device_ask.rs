//! `tidegate device` asks before an action that cannot be undone, and names the losses.

use serde_json::json;
use tidegate_sandbox::{Action, Fault, GATEWAY_ID, WORKSHOP_ID};

use crate::support::{Shell, Terminal};

/// Gives the gateway exactly two attributes and one tag.
fn set_attributes(shell: &Shell) {
    let words = ["--attributes", "temp:number", "door:boolean", "--tags", "room=shed", "--yes"];
    shell.application(&[&["patch"], &words[..]].concat()).line();
}

#[tokio::test(flavor = "multi_thread")]
async fn destructive_action_needs_yes_without_a_terminal() {
    let shell = Shell::new().await;
    set_attributes(&shell);
    shell.device(&["send-state", "--data", "temp=1"]).line();
    let gateway = format!("the device {GATEWAY_ID} (the gateway)");
    for (words, expected) in [
        (&["delete"][..], format!("this deletes {gateway} with all its data; confirm with --yes")),
        (
            &["remove-data", "--start", "2h"],
            format!("this deletes the states of {gateway} from 2h ago to now; confirm with --yes"),
        ),
        (
            &["patch", "--attributes", "temp:number"],
            format!("this removes from {gateway}: attribute door (boolean) with its data; confirm"),
        ),
        (
            &["patch", "--attributes", "temp:string", "door:boolean"],
            "the data of attribute temp, which becomes string from number;".to_owned(),
        ),
        (
            &["patch", "--json", r#"{"tags": []}"#],
            "tag room=\"shed\"; confirm with --yes".to_owned(),
        ),
    ] {
        shell.application(words).assert_refusal(64, &expected);
    }
    assert_eq!(shell.states().len(), 1);
    let device = shell.device(&["get"]).line();
    assert_eq!(device["attributes"].as_array().unwrap().len(), 2);
    assert_eq!(device["tags"], json!([{"key": "room", "value": "shed"}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn harmless_patch_asks_nothing() {
    let shell = Shell::new().await;
    set_attributes(&shell);
    let words = ["patch", "--attributes", "temp:number", "door:boolean", "light:number"];
    assert_eq!(shell.application(&words).line()["attributes"].as_array().unwrap().len(), 3);
    let words = ["patch", "--tags", "room=shed", "floor=0"];
    assert_eq!(shell.application(&words).line()["tags"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn patch_with_unknown_losses_is_not_sent() {
    let shell = Shell::new().await;
    set_attributes(&shell);
    shell.cloud.fail_next(Action::Get, 1, Fault::Status(403, String::new()));
    let end = shell.application(&["patch", "--tags", "floor=0"]);
    end.assert_refusal(
        77,
        "cannot determine what the patch deletes; --yes patches without a check",
    );
    assert_eq!(shell.device(&["get"]).line()["tags"], json!([{"key": "room", "value": "shed"}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn yes_at_the_terminal_confirms() {
    let shell = Shell::new().await;
    set_attributes(&shell);
    let words = ["patch", "--attributes", "temp:number"];
    let mut terminal = Terminal::start(&mut shell.application_command(&words));
    terminal.wait_for("attribute door (boolean) with its data\r\nType yes to continue: ");
    terminal.type_line("yes");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("\"name\": \"temp\""), "indented JSON: {screen}");

    let words = ["delete", "--device", "workshop"];
    let mut terminal = Terminal::start(&mut shell.application_command(&words));
    terminal.wait_for(&format!("deletes the device {WORKSHOP_ID} (workshop) with all its data."));
    terminal.type_line("yes");
    assert_eq!(terminal.end().0, 0);
    shell.application(&["get", "--device", WORKSHOP_ID]).assert_refusal(1, "404");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_answer_cancels() {
    let shell = Shell::new().await;
    shell.device(&["send-state", "--data", "temp=1"]).line();
    // Control-D ends the input.
    for answer in ["no", "y", "", "yes please", "\u{4}"] {
        let mut terminal =
            Terminal::start(&mut shell.application_command(&["remove-data", "--all"]));
        terminal.wait_for("Type yes to continue: ");
        terminal.type_line(answer);
        let (code, screen) = terminal.end();
        assert_eq!(code, 64, "{answer}: {screen}");
        assert!(screen.contains("tidegate: cancelled; nothing was changed"), "{screen}");
    }
    assert_eq!(shell.states().len(), 1);
}
