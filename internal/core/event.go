package core

// EventType is what happened. Its numbers are those of the protobuf contract and of ClickHouse's Enum8.
type EventType uint8

// The event types.
const (
	NoEvent EventType = iota
	PageView
	Engagement
	Operation
	Purchase
	AdView
	Search
	Environment
	Custom

	numEventTypes
)

var eventTypeNames = [...]string{
	NoEvent: "", PageView: "page_view", Engagement: "engagement", Operation: "operation", Purchase: "purchase",
	AdView: "ad_view", Search: "search", Environment: "environment", Custom: "custom",
}

// eventCategories says which category the happening itself belongs to: an event whose category no permitted
// purpose covers is not stored at all. Engagement tells how long a page was viewed, so it goes with the page view.
var eventCategories = [numEventTypes]Category{
	PageView: PageViewHistory, Engagement: PageViewHistory, Operation: OperationLog, Purchase: PurchasedItem,
	AdView: AdViewHistory, Search: SearchKeyword, Environment: UsageEnvironment, Custom: OperationLog,
}

func (t EventType) String() string {
	if int(t) < len(eventTypeNames) {
		return eventTypeNames[t]
	}
	return ""
}

// ParseEventType reads an event type by its name.
func ParseEventType(name string) (EventType, bool) {
	return parseName[EventType](eventTypeNames[:], name)
}

// EventTypes lists all of them in their order.
func EventTypes() []EventType {
	all := make([]EventType, 0, numEventTypes-1)
	for t := PageView; t < numEventTypes; t++ {
		all = append(all, t)
	}
	return all
}

// Category is the data category the event itself belongs to; Unknown for an unknown type.
func (t EventType) Category() Category {
	if t < numEventTypes {
		return eventCategories[t]
	}
	return Unknown
}
