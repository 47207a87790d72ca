//! Decoded columns of files that others have written.

use thalweg_schemas::{Field, FieldType, Schema};

use super::*;

fn schema() -> Arc<Schema> {
    Arc::new(Schema {
        name: "number".into(),
        description: None,
        fields: vec![Field::new("n", FieldType::Int64)],
    })
}

/// Offsets that were read as columns or as records, until `end`.
fn offsets(path: &Path, end: i64) -> Result<(Vec<i64>, Vec<i64>), SourceError> {
    let decoded = Some(DecodedColumns { schema: schema(), fields: vec![0] });
    let mut plan = ArchiveConfig { decoded, ..config(path) }.resolve()?;
    plan.end_at(|_| Some(end));
    let mut reader = plan.reader(0, 1)?;
    let (mut columns, mut records) = (Vec::new(), Vec::new());
    loop {
        let request =
            ReadRequest { records_max: 100, bytes_max: usize::MAX, wait: Duration::ZERO, order: &[0] };
        if let Some(rows) = reader.decoded(request)? {
            columns.extend_from_slice(rows.offsets());
            continue;
        }
        let progress = reader.read(request, &mut |record| records.push(record.offset))?;
        if !progress.ended.is_empty() {
            return Ok((columns, records));
        }
    }
}

fn write_numbers(path: &Path, offsets: &[i64]) {
    let values: Vec<String> = offsets.iter().map(|n| format!("{{\"n\":{n}}}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let columns = vec![
        ("partition", ints(&vec![0; offsets.len()])),
        ("offset", ints(offsets)),
        ("value", text(&values)),
    ];
    write_foreign(path, columns, EnabledStatistics::Chunk);
}

#[test]
fn offsets_behind_the_end_are_not_looked_at_either_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write_numbers(&path, &[0, 3, 2, 5]);
    let ends = [1, 3, 6];
    let raw = ends.map(|end| offsets(folder.path(), end).map_err(|error| error.to_string()));
    assert_eq!(raw[0], Ok((vec![], vec![0])));
    assert!(raw[2].as_ref().unwrap_err().contains("has offset 2 after offset 3"), "{raw:?}");
    let found = decode_file(&path, &schema(), &|| false).unwrap();
    assert!(matches!(found, DecodeSummary::Decoded { rows: 4, refused: 0, .. }), "{found:?}");
    let decoded = ends.map(|end| offsets(folder.path(), end).map_err(|error| error.to_string()));
    for (raw, decoded) in raw.into_iter().zip(decoded) {
        assert_eq!(decoded.map(|(columns, records)| (records, columns)), raw);
    }
}

#[test]
fn a_file_that_was_written_again_is_decoded_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write_numbers(&path, &[0, 1, 2]);
    let decode = || decode_file(&path, &schema(), &|| false).unwrap();
    assert!(matches!(decode(), DecodeSummary::Decoded { .. }));
    assert_eq!(decode(), DecodeSummary::There);
    assert_eq!(offsets(folder.path(), 9).unwrap(), (vec![0, 1, 2], vec![]));
    // As large as before, and by its pages the same.
    let file = std::fs::File::options().append(true).open(&path).unwrap();
    let later = file.metadata().unwrap().modified().unwrap() + Duration::from_secs(10);
    file.set_modified(later).unwrap();
    assert_eq!(offsets(folder.path(), 9).unwrap(), (vec![], vec![0, 1, 2]));
    assert!(matches!(decode(), DecodeSummary::Decoded { .. }));
    assert_eq!(offsets(folder.path(), 9).unwrap(), (vec![0, 1, 2], vec![]));
}

#[test]
fn decoding_that_is_stopped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write_numbers(&path, &[0, 1, 2]);
    assert_eq!(decode_file(&path, &schema(), &|| true).unwrap(), DecodeSummary::Stopped);
    assert_eq!(decoded_of(&path), Vec::<std::path::PathBuf>::new());
    let left = std::fs::read_dir(folder.path().join(DECODED_FOLDER).join(fingerprint(&schema()))).unwrap();
    assert_eq!(left.count(), 0);
}
