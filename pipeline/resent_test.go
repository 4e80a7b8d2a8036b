package pipeline

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

func TestAnActThatIsSentAgainLongAfterwardsIsStoredOnce(t *testing.T) {
	h := newHouse(t, testkit.EmbeddedKafka(t))
	h.cfg.SeenWindow = time.Millisecond // nothing is remembered over a restart
	message := func(id uuid.UUID, cookie string) kafka.Message {
		value, err := h.sealer.Seal(&sekishov1.Envelope{
			Kind: sekishov1.Kind_KIND_CONSENT, Site: "shop", Id: id[:], ReceivedUs: time.Now().Add(-5 * time.Second).UnixMicro(), // longer ago than the window
		}, &sekishov1.ConsentAct{
			Subject: &sekishov1.Identity{CookieId: cookie}, Granted: []string{"usage_based_development", "marketing_use"},
			PolicyVersion: "default/2022-09-15", TimeUs: time.Now().Add(-72 * time.Hour).UnixMicro(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return kafka.Message{Value: value}
	}
	id := uuid.New()
	stop := h.start()
	h.produce(message(id, "a"))
	h.eventually("SELECT count() FROM consent_acts", 2)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	stop = h.start()
	h.produce(message(id, "a"), message(uuid.New(), "b"))
	h.eventually("SELECT count() FROM consent_acts WHERE act_id != '"+id.String()+"'", 2)
	if n := h.count("SELECT count() FROM consent_acts WHERE act_id = '" + id.String() + "'"); n != 2 {
		t.Errorf("the act has %d rows", n)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
