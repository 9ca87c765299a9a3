package solidserver_test

import (
	"slices"
	"strings"
	"testing"
)

// A statement is one thing that is known of the API, and the test that shows it.
// The first part of its number says what it is about: 1 requests, 2 authentication,
// 3 parameters, 4 answers, 5 what surprises. Those that begin with "api" speak to
// the simulator directly: what it does is what the client is tested against.
type statement struct {
	number string
	says   string
	shown  func(*testing.T)
}

// numbers are all that there is to show.
func numbers() []string {
	return strings.Fields("1.1 1.2 1.3 1.4 1.5 2 3.1 3.2 3.3 3.4 4.1 4.2 4.3 " +
		"5.1 5.2 5.3 5.4 5.5 5.6 5.7 5.8 5.9 5.10 5.11 5.12 5.13 5.14 5.15 5.16 5.17")
}

// TestContract holds client and simulator to all that is known of the API. What
// public clients send is replayed by the tests of package solidsim.
func TestContract(t *testing.T) {
	t.Parallel()
	for _, s := range slices.Concat(clientStatements(), apiStatements(), quirkStatements()) {
		t.Run(s.number+" "+s.says, s.shown)
	}
}

// TestContractIsWhole keeps a statement from being left out.
func TestContractIsWhole(t *testing.T) {
	t.Parallel()
	shown := make(map[string]bool)
	for _, s := range slices.Concat(clientStatements(), apiStatements(), quirkStatements()) {
		shown[s.number] = true
		if !slices.Contains(numbers(), s.number) {
			t.Errorf("%q has a number that there is not", s.number+" "+s.says)
		}
	}
	for _, number := range numbers() {
		if !shown[number] {
			t.Errorf("nothing shows %s", number)
		}
	}
}

// clientStatements are those about what the client does.
func clientStatements() []statement {
	return []statement{
		{"1.1", "the client speaks HTTPS below /rest, to whatever form of host it is given", testHost},
		{"1.5", "names with quotes are refused before they reach a clause", testHostileNames},
		{"2", "native, basic and token", testSchemes},
		{"2", "clocks that are too far apart", testTokenOutOfTime},
		{"2", "credentials are those of the moment", testCredentialsOfTheMoment},
		{"2", "redirects get no credentials", testRedirectsAreNotFollowed},
		{"3.1", "records of all types are written", testAllTypesAreWritten},
		{"3.1", "class parameters of others stay when a row is edited", testMarkAmongOtherClassParameters},
		{"3.1", "so they do when a row is adopted, with its value and its TTL", testAdoption},
		{"3.4", "the client's own requests, word by word", testOwnRequests},
		{"4.1", "an answer to a write that says nothing is unclear", testUnclearWrites},
		{"4.1", "nor does one to an adoption", testUnclearAdoption},
		{"4.1", "an error object is a refusal", testRefusedWrites},
		{"4.1", "busy and broken reads are repeated", testReadsAreRepeated},
		{"4.1", "a read that fails is no empty list", testReadsThatFail},
		{"4.1", "every fault on every call", testFaultMatrix},
		{"4.1", "every fault on every call of an adoption", testFaultsOfAdoption},
		{"4.1", "every fault on every read", testFaultMatrixOfReads},
		{"4.2", "rows of all types are read", testAllTypesAreRead},
		{"4.2", "a value of another form than text hides no other row", testRowsThatCannotBeReadDoNotHideOthers},
		{"4.3", "of all zones only masters count", testZonesThatCount},
		{"5.1", "members and what is no master are not written to", testWrongPlaces},
		{"5.2", "accepted is not published", testPushes},
		{"5.2", "pushes that never end", testPushesThatNeverEnd},
		{"5.3", "views are apart", testViewsAreApart},
		{"5.3", "every write names the view", testEveryWriteNamesTheView},
		{"5.3", "so does every list of rows", testCallsNameTheView},
		{"5.4", "exactly one zone", testZoneMustExistOnce},
		{"5.4", "the nearest zone", testNearestZone},
		{"5.5", "ids change between a read and a write", testIDsThatChange},
		{"5.5", "what became of a row that was to be adopted", testAdoptionOfWhatHasChanged},
		{"5.5", "a resynchronisation gives new ids and loses marks", testResynchronisation},
		{"5.8", "nothing is overwritten", testCreateDoesNotOverwrite},
		{"5.8", "an edit that collides", testUpdateOfWhatHasChanged},
		{"5.8", "equal rows", testDoubledRows},
		{"5.9", "a user who may do nothing but DNS records", testUserWithFewRights},
		{"5.10", "automatic PTR records are seen", testAutomaticPTR},
		{"5.10", "where the appliance keeps them", testZonesOfAModel},
		{"5.12", "pages, and their count", testPages},
		{"5.12", "short pages are not the end", testShortPagesAreNotTheEnd},
		{"5.12", "rows that go while the list is read", testZoneThatMoves},
		{"5.13", "bounded concurrency", testConcurrencyIsBounded},
		{"5.13", "a rate limit", testRateLimit},
		{"5.13", "writes with a time-out that happen late", testLateWrite},
		{"5.13", "a write that sits in a socket", testWriteInASocket},
		{"5.14", "deleting twice is success", testLifeOfARecord},
		{"5.15", "before 8.0 a row keeps no mark", testServerWithoutClassParameters},
		{"5.16", "certificates of one's own", testCertificates},
	}
}
