package core

// Category is a data category of the privacy policy (Art. 3 to 5). Every stored column has exactly one.
// The list is closed: what is not named here can be neither declared nor stored (Art. 4).
type Category uint8

// The categories. Unknown is stored nowhere.
const (
	Unknown Category = iota

	// Record is what the system itself writes about a row and says nothing of a person: decision, policy, batch.
	Record
	// Pseudonym is a keyed hash that stands for a subject (APPI Art. 41). It counts and enforces; no report shows it.
	Pseudonym

	// User information, Art. 4(2).

	OperationLog
	PurchasedItem
	PageViewHistory
	AdViewHistory
	SearchKeyword
	UsageTime
	UsageMethod
	UsageEnvironment
	IPAddress
	CookieID
	Location
	DeviceID

	// Registration, Art. 4(1).

	CompanyName
	CompanyAddress
	CompanyCapital
	EstablishmentNumber
	EmployeeName
	EmployeeEmail
	EmployeeAddress
	EmployeeGender
	EmployeeBirthDate
	EmployeeDependents
	IndividualNumber

	// From partners, Art. 4(1).

	PartnerTransactionHistory
	PartnerPayment

	// Contact, Art. 5.

	ContactName
	ContactAffiliation
	ContactDetails

	numCategories
)

var categoryNames = [...]string{
	Unknown: "", Record: "record", Pseudonym: "pseudonym",
	OperationLog: "operation_log", PurchasedItem: "purchased_item", PageViewHistory: "page_view_history",
	AdViewHistory: "ad_view_history", SearchKeyword: "search_keyword", UsageTime: "usage_time",
	UsageMethod: "usage_method", UsageEnvironment: "usage_environment", IPAddress: "ip_address",
	CookieID: "cookie_id", Location: "location", DeviceID: "device_id",
	CompanyName: "company_name", CompanyAddress: "company_address", CompanyCapital: "company_capital",
	EstablishmentNumber: "establishment_number", EmployeeName: "employee_name", EmployeeEmail: "employee_email",
	EmployeeAddress: "employee_address", EmployeeGender: "employee_gender", EmployeeBirthDate: "employee_birth_date",
	EmployeeDependents: "employee_dependents", IndividualNumber: "individual_number",
	PartnerTransactionHistory: "partner_transaction_history", PartnerPayment: "partner_payment",
	ContactName: "contact_name", ContactAffiliation: "contact_affiliation", ContactDetails: "contact_details",
}

func (c Category) String() string {
	if int(c) < len(categoryNames) {
		return categoryNames[c]
	}
	return ""
}

// ParseCategory reads a category by its machine id.
func ParseCategory(name string) (Category, bool) { return parseName[Category](categoryNames[:], name) }

// Categories lists all of them in their order.
func Categories() []Category {
	all := make([]Category, 0, numCategories-1)
	for c := Record; c < numCategories; c++ {
		all = append(all, c)
	}
	return all
}

// CategorySet is a set of categories.
type CategorySet uint64

// SetOf returns the set of the categories given.
func SetOf(categories ...Category) CategorySet {
	var s CategorySet
	for _, c := range categories {
		s |= 1 << c
	}
	return s
}

// Technical is what every purpose may touch because enforcing and counting need it, and no report may show.
const Technical = CategorySet(1<<Record | 1<<Pseudonym)

// Has reports whether c is in the set. Unknown never is.
func (s CategorySet) Has(c Category) bool {
	return c != Unknown && c < numCategories && s&(1<<c) != 0
}

// Union is every category of either set.
func (s CategorySet) Union(t CategorySet) CategorySet { return s | t }
