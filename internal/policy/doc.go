// Package policy is the privacy policy as reviewed data. A pack is one version of one policy
// (schemas/policy/<id>/<date>.yaml); a register is their history. A pack that breaks a rule does not load, and nothing
// starts without one (fail closed). Not legal advice.
//
// # What a purpose is
//
// A purpose is its bit. Rows and consent states know purposes by bit only, so whoever holds a bit can read what was
// stored under it and is covered by what was granted to it. A bit therefore belongs to one purpose for ever
// (docs/adr/0006-purpose-identity.md). An unrelated change takes a bit that was never used (replaces: the old one):
// rows stored before cannot be read for it, grants given before do not cover it, and no other purpose is touched.
//
// # What a change is (Art. 6)
//
// Compare lists every change between two versions. Its class follows from its kind alone (the table rules in diff.go):
//
//   - editorial: texts, articles, foreign names, a processor's contract. It changes what is read, not what is done.
//     Whether a new wording still means the same is for the reviewer: who says it does not, declares the change
//     unrelated and moves the bit.
//   - related: what the subject can expect once it is published, so it must be published before it takes effect. What
//     narrows (a category less, a stricter basis, a shorter period, a recipient less), and what widens without
//     touching anybody's word: a new purpose, because its bit is new; a category for a purpose that nobody was asked
//     to consent to; opt-out instead of consent, because refusals stand; a longer period.
//   - unrelated: what would use somebody's word for something it was not given for. A consent is to a purpose with the
//     categories and the recipients that were shown, so one more of either stretches it; a basis that leaves no choice
//     overrides refusals; taking the pseudonym away breaks what was promised with it. Under the same bit it is
//     refused. It has to move the bit, and then it is purpose_replaced and nothing else.
//
// A version declares its class and MUST NOT understate it.
package policy
