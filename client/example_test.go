package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/sekisho/sekisho/client"
)

// played is a service that always answers the same.
func played() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("purpose") == "customer_support":
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"type":"urn:sekisho:problem:column_denied","title":"Forbidden","status":403,"code":"column_denied","field":"path"}`)
		case r.Header.Get("Accept") == client.NDJSON:
			_, _ = io.WriteString(w, `{"path":"/","views":606}`+"\n"+`{"path":"/list","views":231}`+"\n")
		case r.Header.Get("Accept") == client.CSV:
			_, _ = io.WriteString(w, "path,views\n/,606\n")
		default:
			_, _ = io.WriteString(w, `{"report":"locations","rows":[{"country":"JP","visitors":135}],"suppressed":{"groups":4,"reason":"fewer than 50 subjects"},"coverage":{"included":3227,"left_out":[]}}`)
		}
	}))
}

func ExampleClient_Report() {
	service := played()
	defer service.Close()
	c, err := client.New(service.URL, "sk_key")
	if err != nil {
		log.Fatal(err)
	}
	answer, err := c.Report(context.Background(), "locations", client.Read{
		Site: "shop", Purpose: "usage_based_development",
		From: client.Day(time.Date(2026, 11, 19, 0, 0, 0, 0, time.UTC)), To: client.Day(time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)),
		Filters: []client.Filter{client.Is("device", "mobile"), client.Not(client.Is("country", "US"))},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range answer.Rows {
		country, _ := row.Text("country")
		visitors, _ := row.Count("visitors")
		fmt.Println(country, visitors)
	}
	fmt.Println(answer.Suppressed.Groups, "groups withheld:", answer.Suppressed.Reason)
	// Output:
	// JP 135
	// 4 groups withheld: fewer than 50 subjects
}

func ExampleClient_Rows() {
	service := played()
	defer service.Close()
	c, err := client.New(service.URL, "sk_key")
	if err != nil {
		log.Fatal(err)
	}
	for row, err := range c.Rows(context.Background(), "pages", client.Read{Site: "shop", Purpose: "usage_based_development"}) {
		if err != nil {
			log.Fatal(err) // the rows before it are not the whole report
		}
		path, _ := row.Text("path")
		views, _ := row.Count("views")
		fmt.Println(path, views)
	}
	// Output:
	// / 606
	// /list 231
}

func ExampleClient_Export() {
	service := played()
	defer service.Close()
	c, err := client.New(service.URL, "sk_key")
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Export(context.Background(), "pages", client.Read{Site: "shop", Purpose: "usage_based_development"}, client.CSV, os.Stdout); err != nil {
		log.Fatal(err)
	}
	// Output:
	// path,views
	// /,606
}

func ExampleError() {
	service := played()
	defer service.Close()
	c, err := client.New(service.URL, "sk_key")
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Report(context.Background(), "pages", client.Read{Site: "shop", Purpose: "customer_support"})
	var refused *client.Error
	if errors.As(err, &refused) && refused.Code == client.CodeColumnDenied {
		fmt.Println("the purpose may not use", refused.Field)
	}
	// Output:
	// the purpose may not use path
}
