//! What stands in the zones folder and is no good zone file: a fault with its place, loud, and no harm to the other zones.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use windrose::diagnostic::{Diagnostic, Source};
use windrose::load::load;
use windrose::spec::Faults;
use windrose::wire::name::Name;
use windrose::zone::master;

use crate::daemon::{Daemon, run};

const GOOD: &str = "$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns.example.net.\nwww A 192.0.2.7\n";
const BAD: &str = "$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns.example.net.\nwww A 192.0.2.300\nftp AX 192.0.2.1\n";

#[test]
fn one_bad_master_file_stops_no_other() {
    let files = [
        ("zones/a.example.zone", GOOD),
        ("zones/bad.example.zone", BAD),
        ("zones/c.example.zone", GOOD),
    ];
    let daemon = Daemon::start(&files);
    for told in [
        "zones/bad.example.zone:4:7: error: ",
        "zones/bad.example.zone:5:5: error: ",
    ] {
        assert!(daemon.wait_for_log(told).contains(told));
    }
    assert!(daemon.ask("www.a.example").holds([192, 0, 2, 7]));
    assert!(daemon.ask("www.c.example").holds([192, 0, 2, 7]));
    assert_eq!(daemon.ask("www.bad.example").rcode(), 2);
    let checked = daemon.run(&["check"]);
    assert_eq!(checked.status.code(), Some(1));
    let told = checked.stdout + &checked.stderr;
    assert!(told.contains("zones/bad.example.zone:4:7: error: "), "{told}");
    assert!(told.contains("zones/bad.example.zone:5:5: error: "), "{told}");
}

#[test]
fn a_reload_with_a_bad_master_file_changes_nothing() {
    let daemon = Daemon::start(&[("zones/a.example.zone", GOOD)]);
    daemon.write("zones/a.example.zone", &GOOD.replace("192.0.2.7", "192.0.2.8"));
    daemon.write("zones/bad.example.zone", BAD);
    let told = daemon.reload();
    assert!(told.contains("zones/bad.example.zone:4:7: error: "), "{told}");
    assert!(told.contains("zones/bad.example.zone:5:5: error: "), "{told}");
    assert!(told.contains("reload refused, everything stays as it was"), "{told}");
    assert!(daemon.ask("www.a.example").holds([192, 0, 2, 7]));
    assert_eq!(daemon.ask("www.bad.example").rcode(), 5);
    daemon.remove("zones/bad.example.zone");
    assert!(daemon.reload().contains("reloaded zones=1"));
    assert!(daemon.ask("www.a.example").holds([192, 0, 2, 8]));
}

/// The faults of a folder whose zones are given, and of what `make` adds to it.
fn faults(files: &[(&str, &str)], make: impl Fn(&Path)) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let zones = folder.path().join("zones");
    std::fs::create_dir(&zones).unwrap();
    std::fs::write(folder.path().join("windrose.toml"), "").unwrap();
    for (name, text) in files {
        std::fs::write(zones.join(name), text).unwrap();
    }
    make(&zones);
    let prefix = format!("{}/", zones.display());
    let told = load(Some(&folder.path().join("windrose.toml"))).faults;
    let told = told.iter().map(|fault| fault.to_string().replace(&prefix, ""));
    told.map(|fault| fault.lines().next().unwrap_or_default().to_owned())
        .collect()
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn what_is_no_file_is_a_fault_and_not_waited_for() {
    let told = faults(&[("good.example.zone", GOOD)], |zones| {
        fifo(&zones.join("a.zone"));
        fifo(&zones.join("b.toml"));
        std::fs::create_dir(zones.join("c.zone")).unwrap();
        std::fs::create_dir(zones.join("d.toml")).unwrap();
        symlink("/dev/zero", zones.join("e.zone")).unwrap();
        symlink("f.zone", zones.join("f.zone")).unwrap();
        drop(UnixListener::bind(zones.join("g.zone")).unwrap());
        symlink("nowhere", zones.join("h.zone")).unwrap();
        symlink("good.example.zone", zones.join("i.zone")).unwrap();
    });
    let odd = "cannot be read: it is a FIFO, a socket or a device";
    let expected = [
        format!("a.zone:1:1: error: {odd}"),
        format!("b.toml:1:1: error: {odd}"),
        "c.zone:1:1: error: cannot be read: it is a folder".to_owned(),
        "d.toml:1:1: error: cannot be read: it is a folder".to_owned(),
        format!("e.zone:1:1: error: {odd}"),
        "f.zone:1:1: error: cannot be read: Too many levels of symbolic links (os error 40)".to_owned(),
        format!("g.zone:1:1: error: {odd}"),
        "h.zone:1:1: error: cannot be read: No such file or directory (os error 2)".to_owned(),
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_is_included_is_a_file_of_the_folder() {
    let lines = ["a", "b", "c", "d", "/dev/zero", "../x"].map(|name| format!("$INCLUDE {name}\n"));
    let text = format!("{GOOD}{}", lines.concat());
    let told = faults(&[("x.zone", &text)], |zones| {
        fifo(&zones.join("a"));
        std::fs::create_dir(zones.join("b")).unwrap();
        symlink("/dev/zero", zones.join("c")).unwrap();
        std::fs::write(zones.join("../secret"), "secret A 192.0.2.1\n").unwrap();
        symlink("../secret", zones.join("d")).unwrap();
    });
    assert_eq!(told.len(), 6, "{told:#?}");
    for (line, (told, words)) in (5..).zip(told.iter().zip([
        "a cannot be read: it is a FIFO",
        "b cannot be read: it is a folder",
        "c is not in the zones folder",
        "d is not in the zones folder",
        "/dev/zero is not in the zones folder",
        "`..` leads out of it",
    ])) {
        assert!(
            told.starts_with(&format!("x.zone:{line}:10: error: ")) && told.contains(words),
            "{told}"
        );
    }
}

#[test]
fn files_that_include_one_another_in_a_circle_come_to_an_end() {
    // Each includes the other twice: without a limit of depth that would be no end, without one of their number 2^8 times.
    let text = format!("{GOOD}$INCLUDE a\n");
    let told = faults(
        &[
            ("x.zone", &text),
            ("a", "$INCLUDE b\n$INCLUDE b\n"),
            ("b", "$INCLUDE a\n$INCLUDE a\n"),
        ],
        |_| {},
    );
    assert!(
        told.iter()
            .any(|told| told.contains("files include one another more than 8 deep")),
        "{told:#?}"
    );
    assert!(told.len() <= 1_001, "{}", told.len());
}

/// How many records are read of a text, and its faults.
fn read(text: &str) -> (usize, Vec<Diagnostic>) {
    let source = Source::new("example.zone", text);
    let mut faults = Faults::new(&source);
    let origin = Name::parse("example.", None).unwrap();
    let zone = master::read(&origin, &mut |_| Err("no".to_owned()), &mut faults);
    let sets = zone.iter().flat_map(|zone| zone.owners.values());
    let count = sets.flat_map(|owner| owner.rrsets.values()).map(|set| set.rdata.len());
    (count.sum(), faults.into_sorted())
}

#[test]
fn ends_of_lines_and_of_the_text_are_what_they_may_be() {
    for text in [
        GOOD.to_owned(),
        GOOD.trim_end().to_owned(),
        GOOD.replace('\n', "\r\n"),
        format!("\u{feff}{GOOD}"),
        format!("{GOOD}; a comment without an end"),
        format!("{GOOD}\n\n  \n\t; \n"),
        format!("{GOOD}\r"),
    ] {
        let (records, faults) = read(&text);
        assert!(records == 3 && faults.is_empty(), "{text:?}: {records} {faults:?}");
    }
}

#[test]
fn lines_of_any_length_are_read_or_told_in_short() {
    let long = 16 << 20;
    let comment = format!("{GOOD}x A 192.0.2.1 ;{}\n", "c".repeat(long));
    assert_eq!(read(&comment).0, 4);
    assert!(read(&comment).1.is_empty());
    for line in [
        "x".repeat(long),
        format!("{} A 192.0.2.1", "x".repeat(long)),
        format!("x A {}", "1".repeat(long)),
        format!("x {} 192.0.2.1", "A".repeat(long)),
        format!("x {} A 192.0.2.1", "9".repeat(long)),
        format!("${}", "G".repeat(long)),
        format!("$INCLUDE {}", "i".repeat(long)),
        format!("$GENERATE 1-1000 x$ A {}", "1".repeat(1 << 16)),
        format!("x TXT {}", "t ".repeat(long / 2)),
        format!("x TXT \"{}\"", "t".repeat(long)),
        format!("x TXT \"{}", "t".repeat(long)),
        format!("x TXT {}", "(".repeat(long)),
        format!("x TYPE65280 \\# 65535 {}", "00".repeat(long / 2)),
        format!("x A 192.0.2.1 {}", "\0".repeat(long)),
        format!("x HTTPS 1 . {}", "key1 ".repeat(long / 5)),
    ] {
        let (_, faults) = read(&format!("{GOOD}{line}\n"));
        let place = faults.first().map(Diagnostic::line_column);
        assert_eq!(place.map(|(line, _)| line), Some(5), "{}", &line[..40]);
        for fault in &faults {
            assert!(fault.to_string().len() < 4_096, "{}", &line[..40]);
        }
    }
}

#[test]
fn nul_octets_are_told_at_their_place() {
    let (_, faults) = read(&format!("{GOOD}x A 192.0.2.\0\n"));
    assert_eq!(faults.len(), 1);
    let told = faults[0].to_string();
    assert!(
        told.starts_with("example.zone:5:5: error: ") && !told.contains('\0'),
        "{told:?}"
    );
    // A name may have any octets (RFC 2181 11).
    assert!(read(&format!("{GOOD}x\0y A 192.0.2.1\n")).1.is_empty());
}

#[test]
fn import_reads_what_it_is_given_and_places_its_faults() {
    let ended = run(
        &[("zones/bad.example.zone", BAD)],
        &["import", "zones/bad.example.zone"],
    );
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stdout.is_empty(), "{}", ended.stdout);
    assert!(
        ended.stderr.contains("zones/bad.example.zone:4:7: error: "),
        "{}",
        ended.stderr
    );
    let ended = run(&[], &["import", "zones"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.stderr.starts_with("zones:1:1: error: cannot be read: "),
        "{}",
        ended.stderr
    );
}
