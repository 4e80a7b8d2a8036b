// Writes encoded.json: TC strings made by the published encoder, npm @iabtechlabtcf/core 1.5.21 (Apache-2.0), each with
// what the same package decodes from it. Sets of ids are lists of [first, last].
//
//   npm install --save-exact --ignore-scripts @iabtechlabtcf/core@1.5.21     (in a folder outside the repository)
//   cp generate.mjs THAT_FOLDER && node THAT_FOLDER/generate.mjs > encoded.json
//
// Nothing in it depends on the day it runs.
import { GVL, PurposeRestriction, RestrictionType, Segment, TCModel, TCString } from "@iabtechlabtcf/core";

const highest = 2200; // more vendors than the list of 2026 has, and one at the format's end
const ids = [...Array(highest).keys()].map((i) => i + 1).concat(65535);
const names = (n) => Object.fromEntries([...Array(n).keys()].map((i) => [i + 1, { id: i + 1, name: "n", description: "d" }]));

// list makes a vendor list under which every signal may be set.
function list({ policy = 5, version = 128, language = "EN" } = {}) {
  const vendor = (id) => ({
    id, name: "v", purposes: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], legIntPurposes: [2, 7, 8, 9, 10, 11],
    flexiblePurposes: [2, 7, 8, 9, 10, 11], specialPurposes: [1, 2, 3], features: [1, 2, 3], specialFeatures: [1, 2],
  });
  const json = {
    gvlSpecificationVersion: 3, vendorListVersion: version, tcfPolicyVersion: policy, lastUpdated: "2026-01-01T00:00:00Z",
    purposes: names(11), specialPurposes: names(3), features: names(3), specialFeatures: names(2), stacks: {}, dataCategories: {},
    vendors: Object.fromEntries(ids.map((id) => [id, vendor(id)])),
  };
  const gvl = new GVL(json);
  gvl.lang_ = language; // changeLanguage would fetch a translation, and so would a copy
  gvl.clone = () => gvl;
  return gvl;
}

// random is mulberry32.
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function spans(vector) {
  const out = [];
  for (const id of [...vector.values()].sort((a, b) => a - b)) {
    const last = out.at(-1);
    if (last && last[1] === id - 1) last[1] = id;
    else out.push([id, id]);
  }
  return out;
}

function describe(name, string) {
  const m = TCString.decode(string);
  const parts = string.split(".").slice(1).map((s) => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".indexOf(s[0]) >> 3);
  return {
    name, string, segments: parts,
    created: m.created.getTime(), last_updated: m.lastUpdated.getTime(), cmp_id: m.cmpId, cmp_version: m.cmpVersion,
    consent_screen: m.consentScreen, consent_language: m.consentLanguage, vendor_list_version: m.vendorListVersion,
    policy_version: m.policyVersion, service_specific: m.isServiceSpecific, non_standard_texts: m.useNonStandardTexts,
    purpose_one_treatment: m.purposeOneTreatment, publisher_cc: m.publisherCountryCode,
    special_features: spans(m.specialFeatureOptins), purpose_consents: spans(m.purposeConsents),
    purpose_interests: spans(m.purposeLegitimateInterests), vendor_consents: spans(m.vendorConsents),
    vendor_interests: spans(m.vendorLegitimateInterests), disclosed: spans(m.vendorsDisclosed), allowed: spans(m.vendorsAllowed),
    restrictions: m.publisherRestrictions.getRestrictions().map((r) => ({
      purpose: r.purposeId, type: r.restrictionType, vendors: spans(new Set(m.publisherRestrictions.getVendors(r))),
    })),
    publisher_consents: spans(m.publisherConsents), publisher_interests: spans(m.publisherLegitimateInterests),
    custom: m.numCustomPurposes, custom_consents: spans(m.publisherCustomConsents), custom_interests: spans(m.publisherCustomLegitimateInterests),
  };
}

const cases = [];
function add(name, set, { gvl = list(), options } = {}) {
  const m = new TCModel(gvl);
  m.cmpId = 300;
  m.cmpVersion = 4;
  m.consentScreen = 1;
  m.publisherCountryCode = "JP";
  m.isServiceSpecific = true;
  m.created = m.lastUpdated = new Date("2026-06-01T00:00:00Z");
  set(m);
  cases.push(describe(name, TCString.encode(m, options)));
}
const restrict = (m, purpose, type, vendors) => vendors.forEach((v) => m.publisherRestrictions.add(v, new PurposeRestriction(purpose, type)));
const range = (first, last, step = 1) => ids.filter((id) => id >= first && id <= last && (id - first) % step === 0);

add("nothing set", () => {});
add("everything accepted", (m) => { m.setAllPurposeConsents(); m.setAllPurposeLegitimateInterests(); m.setAllVendorConsents(); m.setAllVendorLegitimateInterests(); m.setAllVendorsDisclosed(); m.specialFeatureOptins.set([1, 2]); });
add("everything refused", (m) => m.setAllVendorsDisclosed());
for (let n = 1; n <= 24; n++) add(`purpose ${n} alone`, (m) => { m.purposeConsents.set(n); m.vendorConsents.set(n); m.vendorsDisclosed.set([n, n + 1]); });
for (const n of [2, 7, 8, 9, 10, 11]) add(`interest in purpose ${n} alone`, (m) => { m.purposeLegitimateInterests.set(n); m.vendorLegitimateInterests.set(n); });
for (let n = 1; n <= 12; n++) add(`special feature ${n} alone`, (m) => m.specialFeatureOptins.set(n));
add("one vendor, the first", (m) => { m.vendorConsents.set(1); m.vendorsDisclosed.set(1); });
add("one vendor, the last of the format, as a range", (m) => { m.vendorConsents.set(65535); m.vendorLegitimateInterests.set(65535); m.vendorsDisclosed.set(65535); });
add("vendors as a bit field", (m) => { m.vendorConsents.set(range(1, 400, 2)); m.vendorLegitimateInterests.set(range(2, 400, 3)); m.vendorsDisclosed.set(range(1, 400, 7)); });
add("vendors as ranges", (m) => { m.vendorConsents.set(range(10, 900)); m.vendorConsents.set(range(1000, 2000)); m.vendorLegitimateInterests.set([2200]); m.vendorsDisclosed.set(range(1, 2200)); });
add("vendors as single ids of a range encoding", (m) => { m.vendorConsents.set([5, 700, 1400, 2100]); m.vendorsDisclosed.set([5, 6, 7, 2100]); });
add("consents as ranges, interests as a bit field", (m) => { m.vendorConsents.set([1, 2000]); m.vendorLegitimateInterests.set(range(1, 40, 2)); });
add("a restriction of each type", (m) => { restrict(m, 2, RestrictionType.NOT_ALLOWED, [1, 2, 3, 9]); restrict(m, 7, RestrictionType.REQUIRE_CONSENT, [4]); restrict(m, 8, RestrictionType.REQUIRE_LI, range(5, 800)); m.setAllVendorsDisclosed(); });
add("many restrictions", (m) => { for (const p of [2, 7, 8, 9, 10, 11]) for (const t of [0, 1, 2]) restrict(m, p, t, range(p + t, highest, 11 + p + t)); });
add("a restriction of the last vendor", (m) => restrict(m, 1, RestrictionType.NOT_ALLOWED, [1, 2, 65535]));
for (const n of [1, 5, 31, 32, 33, 62, 63]) add(`${n} custom purposes`, (m) => { m.numCustomPurposes = n; m.publisherCustomConsents.set([1, n]); m.publisherCustomLegitimateInterests.set(n); m.publisherConsents.set([1, 24]); m.publisherLegitimateInterests.set([2, 23]); });
for (const language of ["JA", "FR", "PT-BR", "SR-CYRL", "ZH"]) add(`language ${language}`, () => {}, { gvl: list({ language }) });
for (const country of ["AA", "DE", "GB", "ZZ"]) add(`country ${country}`, (m) => { m.publisherCountryCode = country; });
for (const policy of [2, 3, 4, 5, 6, 63]) add(`policy version ${policy}`, (m) => m.setAllVendorsDisclosed(), { gvl: list({ policy, version: policy * 65 }) });
add("purpose one was not disclosed", (m) => { m.purposeOneTreatment = true; m.purposeConsents.set(2); });
add("texts that are not the standard's", (m) => { m.useNonStandardTexts = true; });
add("largest numbers", (m) => { m.cmpId = 4095; m.cmpVersion = 4095; m.consentScreen = 63; }, { gvl: list({ version: 4095 }) });
for (const [name, date] of [["the epoch", "1970-01-01T00:00:00Z"], ["a tenth of a second", "2026-02-28T23:59:59.900Z"], ["the day of the change", "2026-03-01T00:00:00Z"], ["the last tenth of a second", (2 ** 36 - 1) * 100]])
  add(`made at ${name}`, (m) => { m.created = m.lastUpdated = new Date(date); });
add("updated later than created", (m) => { m.created = new Date("2025-12-01T00:00:00Z"); m.lastUpdated = new Date("2026-04-01T00:00:00Z"); });
add("core alone, before the change", (m) => { m.created = m.lastUpdated = new Date("2026-02-28T00:00:00Z"); m.setAllPurposeConsents(); m.setAllVendorConsents(); }, { options: { segments: [Segment.CORE] } });
add("core alone, after the change", (m) => m.setAllPurposeConsents(), { options: { segments: [Segment.CORE] } });
add("core and publisher", (m) => { m.publisherConsents.set([3]); }, { options: { segments: [Segment.CORE, Segment.PUBLISHER_TC] } });
add("publisher before disclosed", (m) => { m.publisherConsents.set([3]); m.vendorsDisclosed.set([8]); }, { options: { segments: [Segment.CORE, Segment.PUBLISHER_TC, Segment.VENDORS_DISCLOSED] } });
add("all four segments", (m) => { m.vendorsDisclosed.set([8, 9]); m.vendorsAllowed.set([9, 1500]); }, { options: { segments: [Segment.CORE, Segment.VENDORS_DISCLOSED, Segment.VENDORS_ALLOWED, Segment.PUBLISHER_TC] } });
add("global scope", (m) => { m.isServiceSpecific = false; m.vendorsDisclosed.set([8]); });
add("global scope, for vendors", (m) => { m.isServiceSpecific = false; m.supportOOB = true; m.vendorsDisclosed.set([8]); m.vendorsAllowed.set([9]); }, { options: { isForVendors: true } });
for (let seed = 1; seed <= 24; seed++) {
  const r = random(seed);
  const upTo = [30, 200, 1200, highest][seed % 4];
  const density = [0.02, 0.3, 0.9][seed % 3];
  const some = (n, p) => [...Array(n).keys()].map((i) => i + 1).filter(() => r() < p);
  add(`random ${seed}`, (m) => {
    m.cmpId = 2 + Math.floor(r() * 4093);
    m.cmpVersion = Math.floor(r() * 4096);
    m.consentScreen = Math.floor(r() * 64);
    m.created = m.lastUpdated = new Date(Math.floor(r() * 4e9) * 1000);
    m.useNonStandardTexts = r() < 0.5;
    m.purposeOneTreatment = r() < 0.2;
    m.isServiceSpecific = true;
    m.specialFeatureOptins.set(some(12, 0.5));
    m.purposeConsents.set(some(24, 0.5));
    m.purposeLegitimateInterests.set(some(24, 0.5));
    m.vendorConsents.set(some(upTo, density));
    m.vendorLegitimateInterests.set(some(upTo, density));
    m.vendorsDisclosed.set(some(upTo, density));
    m.publisherConsents.set(some(24, 0.5));
    m.publisherLegitimateInterests.set(some(24, 0.5));
    m.numCustomPurposes = Math.floor(r() * 64);
    m.publisherCustomConsents.set(some(m.numCustomPurposes, 0.5));
    m.publisherCustomLegitimateInterests.set(some(m.numCustomPurposes, 0.5));
    for (const p of [2, 7, 9]) restrict(m, p, Math.floor(r() * 3), some(upTo, density / 5));
  });
}

process.stdout.write("[\n" + cases.map((c) => JSON.stringify(c)).join(",\n") + "\n]\n");
