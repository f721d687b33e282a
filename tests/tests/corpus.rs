//! Every input of every fuzz corpus, through the body of its target.

use std::collections::BTreeSet;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
pub mod targets;

#[test]
fn every_corpus_passes_its_target() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut found = BTreeSet::new();
    for corpus in corpora.read_dir().unwrap() {
        let corpus = corpus.unwrap();
        let target = corpus.file_name().into_string().unwrap();
        let mut inputs = 0;
        for input in corpus.path().read_dir().unwrap() {
            targets::run(&target, &std::fs::read(input.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert_ne!(inputs, 0, "the corpus of {target} is empty");
        found.insert(target);
    }
    let targets = targets::TARGETS.iter().map(|(name, _)| (*name).to_owned());
    assert_eq!(found, targets.collect());
}
