// Package ledger proves what was recorded: an append-only Merkle log of consent acts, policy publications, key
// destructions, erasures, expiries and audit checkpoints. Nobody, the operator included, can change, drop, insert or
// reorder a record afterwards without a holder of an older checkpoint or receipt being able to show it.
//
// # What the log is
//
// The records of one single-partition topic, in their order and without repeats, are the log: a [Log] is a function of
// them. It takes entries in that order and ignores an id it has seen, so a replay or a retry changes nothing, and a
// lost directory is rebuilt from the topic to the same root.
//
// A leaf is an [Entry] of 58 bytes: version, kind, id, time and a commitment. It holds no personal data and no
// pseudonym. The commitment is SHA-256 over a domain, the kind, a random salt of 32 bytes and the record's fields in
// one unambiguous form ([Canonical]). Salt and fields lie with the record and go with it on erasure. What stays says
// nothing about anybody, and the log still verifies. An erasure is itself recorded: its record lists the leaves it
// covers ([Cover]), so that an erased record can be told from a dropped one.
//
// Hashing and proofs are those of RFC 6962 section 2.1 (RFC 9162 section 2.1), by golang.org/x/mod/sumdb/tlog.
//
// # What is signed
//
// A [Checkpoint] is a signed note (Ed25519) in the form of c2sp.org/tlog-checkpoint: origin, size, root. Witnesses may
// add their signatures to it. [Log.Checkpoint] MUST NOT sign a tree that is not an extension of the last one it
// signed. It syncs the files first, and gives a checkpoint out only when it is on disk: after any crash the log holds
// at least what it signed. Two checkpoints of one log that no consistency proof joins are the proof of a fork
// ([VerifyConsistency]); so keep and exchange them.
//
// A [Receipt] is a record, its salt, its leaf's index, an inclusion proof and a checkpoint, as JSON
// (receipt.schema.json). Of a consent act it is the subject's copy of the record, a consent receipt in the sense of
// ISO/IEC TS 27560, and it is verified offline with nothing but the verifier key: [VerifyReceipt].
//
// # What an audit finds
//
// [Verify] holds the records of a store against the log, and the log against its checkpoints. It names each record
// that was changed, dropped, moved, doubled or slipped in, and each that should have been erased and was not.
//
// # What to read
//
// entry.go and record.go say what is hashed, log.go how the log grows, store.go how it lies on disk, receipt.go and
// verify.go what others check.
package ledger
