//! `thalweg archive verify` finds what is planted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int32Array, Int64Array};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use thalweg_operators::source::archive::{ArchiveCompression, ArchiveOptions, ArchiveWriter};

use super::{NOON_MS, done, files, ran, refused, said};

fn sound(folder: &Path) -> Vec<PathBuf> {
    // Level 1 of LZ4 finds little in these bytes: they lie in the file as they are.
    let options = ArchiveOptions {
        compression: ArchiveCompression::Lz4,
        file_bytes_max: 20_000,
        ..ArchiveOptions::default()
    };
    let mut writer = ArchiveWriter::new(folder, options).expect("a folder");
    for offset in 0..6000_i64 {
        let value = offset.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed()).to_le_bytes();
        writer.push(0, offset, NOON_MS + offset, Some(b"key"), Some(&value), &[]).expect("a record");
    }
    writer.finish().expect("an archive");
    let files = files(folder);
    assert!(files.len() >= 3, "{files:?}");
    files
}

fn foreign(path: &Path, offsets: &[i64], with_value: bool) {
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("partition", Arc::new(Int32Array::from(vec![0; offsets.len()]))),
        ("offset", Arc::new(Int64Array::from(offsets.to_vec()))),
    ];
    if with_value {
        columns.push(("value", Arc::new(BinaryArray::from_vec(vec![b"x"; offsets.len()]))));
    }
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let file = fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("a file");
    writer.close().expect("a file");
}

/// Plants something in a sound archive, and looks for the one finding, which names the file.
fn finds(plant: impl FnOnce(&Path, &[PathBuf]) -> PathBuf, told: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = folder.path().join("events");
    let path = archive.display().to_string();
    let files = sound(&archive);
    assert!(done(&["verify", &path]).contains(": sound;"));
    let spoilt = plant(&archive, &files);
    let output = ran(&["verify", &path]);
    assert_eq!(output.status.code(), Some(1), "{told}: {}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let findings: Vec<&str> = text.lines().filter(|line| !line.starts_with(&format!("{path}: "))).collect();
    assert_eq!(findings.len(), 1, "{text}");
    assert!(findings[0].starts_with(&spoilt.display().to_string()) && findings[0].contains(told), "{text}");
    let json = ran(&["verify", &path, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("findings");
    assert_eq!(json[0]["findings"].as_array().map(Vec::len), Some(1), "{json}");
}

#[test]
fn every_planted_damage_is_found_with_its_file() {
    finds(
        |_, files| {
            let bytes = fs::read(&files[1]).expect("a file");
            fs::write(&files[1], &bytes[..bytes.len() / 2]).expect("a file");
            files[1].clone()
        },
        "damaged or cut short",
    );
    finds(
        |_, files| {
            // In the midst of the values: it decodes as well as before.
            let mut bytes = fs::read(&files[1]).expect("a file");
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            fs::write(&files[1], bytes).expect("a file");
            files[1].clone()
        },
        "its rows are not those that were written",
    );
    finds(
        |archive, files| {
            let copy = archive.join("copy.parquet");
            fs::copy(&files[1], &copy).expect("a file");
            files[1].clone()
        },
        "copy.parquet holds those up to",
    );
    finds(
        |archive, _| {
            foreign(&archive.join("other.parquet"), &[9000, 9001], false);
            archive.join("other.parquet")
        },
        "it has no column value",
    );
    finds(
        |archive, _| {
            foreign(&archive.join("other.parquet"), &[9000, 9005, 9003], true);
            archive.join("other.parquet")
        },
        "row 2 (counted from 0) has offset 9003 after offset 9005",
    );
    finds(
        |_, files| {
            let name = files[1].file_name().and_then(|name| name.to_str()).expect("a name");
            let renamed = files[1].with_file_name(name.replace("part-00000", "part-00001"));
            fs::rename(&files[1], &renamed).expect("a file");
            renamed
        },
        "which its name contradicts",
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    refused(&["verify", &folder.path().display().to_string()], &["holds no file ending in .parquet"]);
    refused(&["ls", &folder.path().display().to_string()], &["there are no archives in"]);
}

#[test]
fn a_folder_of_archives_stands_for_all_of_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().display().to_string();
    for name in ["first", "second"] {
        sound(&folder.path().join(name));
    }
    let json = |command: &str| -> serde_json::Value {
        serde_json::from_str(&done(&[command, &path, "--format", "json"])).expect("a list")
    };
    for command in ["ls", "info"] {
        let found = json(command);
        let told: Vec<_> = found.as_array().expect("a list").iter().map(|one| &one["topic"]).collect();
        assert_eq!(told, ["first", "second"], "{command}");
        let text = done(&[command, &path]);
        assert!(text.contains("first") && text.contains("second"), "{command}: {text}");
    }
    let verified = done(&["verify", &path]);
    assert_eq!(verified.matches(": sound;").count(), 2, "{verified}");
    // Of one archive it is that one.
    let one = done(&["info", &folder.path().join("second").display().to_string(), "--format", "json"]);
    let one: serde_json::Value = serde_json::from_str(&one).expect("an archive");
    assert_eq!((&one["topic"], &one["rows"]), (&"second".into(), &6000.into()));
    // What changes one archive says which there are.
    let second = folder.path().join("second").display().to_string();
    refused(&["trim", &path, "--keep", "1d"], &["name one of them", "/first, ", &second]);
}
