// Writes encoded-java.json: TC strings made by the Java encoder, Maven com.iabtcf:iabtcf-encoder 2.0.10 (Apache-2.0), each
// with what the decoder of the same release reads from it. The shape is that of encoded.json (generate.mjs).
//
//   mvn dependency:copy-dependencies -DoutputDirectory=lib     (a pom.xml with that one dependency, outside the repository)
//   java -cp 'lib/*' Generate.java > encoded-java.json         (Java 17)
//
// Nothing in it depends on the day it runs.
import com.iabtcf.decoder.TCString;
import com.iabtcf.encoder.PublisherRestrictionEntry;
import com.iabtcf.encoder.TCStringEncoder;
import com.iabtcf.v2.RestrictionType;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

public class Generate {
  static final List<String> cases = new ArrayList<>();

  static String spans(Iterable<Integer> ids) {
    TreeSet<Integer> sorted = new TreeSet<>();
    ids.forEach(sorted::add);
    List<int[]> out = new ArrayList<>();
    for (int id : sorted) {
      int[] last = out.isEmpty() ? null : out.get(out.size() - 1);
      if (last != null && last[1] == id - 1) last[1] = id;
      else out.add(new int[] {id, id});
    }
    return out.stream().map(s -> "[" + s[0] + "," + s[1] + "]").collect(Collectors.joining(",", "[", "]"));
  }

  static String field(String name, Object value) {
    return "\"" + name + "\":" + value;
  }

  static String text(String value) {
    return "\"" + value + "\"";
  }

  static void add(String name, Consumer<TCStringEncoder.Builder> set) {
    Instant made = Instant.parse("2026-06-01T00:00:00Z");
    TCStringEncoder.Builder b = TCStringEncoder.newBuilder().version(2).created(made).lastUpdated(made).cmpId(31).cmpVersion(2).consentScreen(1)
        .consentLanguage("FR").vendorListVersion(128).tcfPolicyVersion(5).isServiceSpecific(true).publisherCC("FR");
    set.accept(b);
    String s = b.encode();
    String[] segments = s.split("\\.");
    TCString m = TCString.decode(s);
    List<Integer> types = new ArrayList<>();
    for (int i = 1; i < segments.length; i++) {
      types.add("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".indexOf(segments[i].charAt(0)) >> 3);
    }
    int custom = IntStream.concat(m.getCustomPurposesConsent().toStream(), m.getCustomPurposesLITransparency().toStream()).max().orElse(0);
    String restrictions = m.getPublisherRestrictions().stream().map(r -> "{" + String.join(",", field("purpose", r.getPurposeId()),
        field("type", r.getRestrictionType().ordinal()), field("vendors", spans(r.getVendorIds()))) + "}").collect(Collectors.joining(",", "[", "]"));
    cases.add("{" + String.join(",", field("name", text(name)), field("string", text(s)), field("segments", types.toString().replace(" ", "")),
        field("created", m.getCreated().toEpochMilli()), field("last_updated", m.getLastUpdated().toEpochMilli()), field("cmp_id", m.getCmpId()),
        field("cmp_version", m.getCmpVersion()), field("consent_screen", m.getConsentScreen()), field("consent_language", text(m.getConsentLanguage())),
        field("vendor_list_version", m.getVendorListVersion()), field("policy_version", m.getTcfPolicyVersion()), field("service_specific", m.isServiceSpecific()),
        field("non_standard_texts", m.getUseNonStandardStacks()), field("purpose_one_treatment", m.getPurposeOneTreatment()), field("publisher_cc", text(m.getPublisherCC())),
        field("special_features", spans(m.getSpecialFeatureOptIns())), field("purpose_consents", spans(m.getPurposesConsent())),
        field("purpose_interests", spans(m.getPurposesLITransparency())), field("vendor_consents", spans(m.getVendorConsent())),
        field("vendor_interests", spans(m.getVendorLegitimateInterest())), field("disclosed", spans(m.getDisclosedVendors())), field("allowed", spans(m.getAllowedVendors())),
        field("restrictions", restrictions), field("publisher_consents", spans(m.getPubPurposesConsent())), field("publisher_interests", spans(m.getPubPurposesLITransparency())),
        field("custom", custom), field("custom_consents", spans(m.getCustomPurposesConsent())), field("custom_interests", spans(m.getCustomPurposesLITransparency()))) + "}");
  }

  static PublisherRestrictionEntry restriction(int purpose, RestrictionType type, int... vendors) {
    return PublisherRestrictionEntry.newBuilder().purposeId(purpose).restrictionType(type).addVendor(vendors).build();
  }

  static int[] some(Random r, int n, double p) {
    return IntStream.rangeClosed(1, n).filter(i -> r.nextDouble() < p).toArray();
  }

  public static void main(String[] args) {
    add("nothing set", b -> {});
    for (int n = 1; n <= 24; n++) {
      int purpose = n;
      add("purpose " + n, b -> b.addPurposesConsent(purpose).addPurposesLITransparency(25 - purpose).addVendorConsent(purpose));
    }
    for (int n : new int[] {1, 2, 63, 64, 1000, 65535}) {
      add("vendor " + n, b -> b.addVendorConsent(n).addVendorLegitimateInterest(n).addDisclosedVendors(n));
    }
    add("vendors as ranges", b -> IntStream.rangeClosed(100, 1500).filter(i -> i % 500 != 0).forEach(i -> b.addVendorConsent(i).addDisclosedVendors(i)));
    add("a restriction of each type", b -> b.addPublisherRestrictionEntry(restriction(2, RestrictionType.NOT_ALLOWED, 1, 2, 3),
        restriction(7, RestrictionType.REQUIRE_CONSENT, 4), restriction(9, RestrictionType.REQUIRE_LEGITIMATE_INTEREST, 5, 7, 65535)));
    add("a restriction twice", b -> b.addPublisherRestrictionEntry(restriction(2, RestrictionType.NOT_ALLOWED, 1), restriction(2, RestrictionType.NOT_ALLOWED, 9)));
    add("all four segments", b -> b.addDisclosedVendors(4).addAllowedVendors(5).addPubPurposesConsent(6).addCustomPurposesConsent(3).addCustomPurposesLITransparency(7));
    for (int seed = 1; seed <= 24; seed++) {
      Random r = new Random(seed);
      int upTo = new int[] {30, 200, 1200}[seed % 3];
      double density = new double[] {0.02, 0.3, 0.9}[(seed / 3) % 3];
      add("random " + seed, b -> {
        Instant at = Instant.ofEpochSecond(r.nextInt(Integer.MAX_VALUE));
        b.created(at).lastUpdated(at).cmpId(r.nextInt(4096)).cmpVersion(r.nextInt(4096)).consentScreen(r.nextInt(64)).vendorListVersion(r.nextInt(4096))
            .tcfPolicyVersion(r.nextInt(64)).useNonStandardStacks(r.nextBoolean()).isServiceSpecific(r.nextBoolean()).purposeOneTreatment(r.nextBoolean());
        for (int i : some(r, 12, 0.5)) b.addSpecialFeatureOptIns(i);
        for (int i : some(r, 24, 0.5)) b.addPurposesConsent(i);
        for (int i : some(r, 24, 0.5)) b.addPurposesLITransparency(i);
        for (int i : some(r, upTo, density)) b.addVendorConsent(i);
        for (int i : some(r, upTo, density)) b.addVendorLegitimateInterest(i);
        for (int i : some(r, upTo, density)) b.addDisclosedVendors(i);
        for (int i : some(r, 24, 0.3)) b.addPubPurposesConsent(i);
        for (int i : some(r, 24, 0.3)) b.addPubPurposesLITransparency(i);
        for (int i : some(r, 63, 0.2)) b.addCustomPurposesConsent(i);
        for (int i : some(r, 63, 0.2)) b.addCustomPurposesLITransparency(i);
        for (int purpose : new int[] {2, 10}) {
          int[] vendors = some(r, upTo, density / 4);
          // Of a restriction without vendors the encoder writes what its own decoder cannot read.
          if (vendors.length > 0) b.addPublisherRestrictionEntry(restriction(purpose, RestrictionType.values()[purpose % 3], vendors));
        }
      });
    }
    System.out.println("[\n" + String.join(",\n", cases) + "\n]");
  }
}
