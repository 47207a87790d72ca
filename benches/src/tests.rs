//! What is compared must be equal: the reference and Thalweg find the same windows. Nothing is timed here.

use crate::check;
use crate::data::{Data, EVENTS};
use crate::engine::{self, From};
use crate::reference::{self, Input, Job};

#[test]
fn the_reference_and_thalweg_find_the_same_windows() {
    let folder = tempfile::tempdir().unwrap();
    // As dense as a whole run's events, so that sessions go on, end, and come back.
    let data = Data::new(folder.path(), EVENTS / 100);
    data.make_archive().unwrap();
    data.make_decoded().unwrap();
    for job in [Job::J1, Job::J2] {
        let mut outcomes = Vec::new();
        for workers in [1, 2] {
            let by_hand = folder.path().join(format!("reference-{}-{workers}", job.name()));
            let input = Input::Archive(data.archive());
            assert_eq!(reference::run(job, &input, workers, &by_hand).unwrap().0, data.events());
            outcomes.push(check::read(&by_hand).unwrap());
            let thalweg = folder.path().join(format!("thalweg-{}-{workers}", job.name()));
            engine::run_job(job, &data, From::Archive, workers, &thalweg).unwrap();
            outcomes.push(check::read(&thalweg.join("result")).unwrap());
            let replay = folder.path().join(format!("replay-{}-{workers}", job.name()));
            engine::run_job(job, &data, From::Decoded, workers, &replay).unwrap();
            outcomes.push(check::read(&replay.join("result")).unwrap());
        }
        assert_eq!(outcomes[0].requests, data.events() as i64);
        assert!(outcomes.windows(2).all(|two| two[0] == two[1]), "{}: {outcomes:?}", job.name());
    }
}
