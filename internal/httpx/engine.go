package httpx

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/core"
)

// RequestIDHeader names the request in the answer and in the log. It is made here and never taken from a caller:
// a caller's id could link a person's requests.
const RequestIDHeader = "Sekisho-Request-Id"

// NewEngine returns a Gin engine with the shared middleware: request id, recovery, security headers, access log.
// The log holds the method, the route's template, the status, the duration and the request id: no address, no user
// agent, no URL, no body. 5xx are logged as warnings, all else at debug.
func NewEngine(log *slog.Logger, random io.Reader) *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.ForwardedByClientIP = false
	e.HandleMethodNotAllowed = true
	e.Use(around(log, random))
	e.NoRoute(func(c *gin.Context) {
		WriteProblem(c.Writer, &core.Error{Code: core.CodeNotFound, Message: "there is no such resource"})
	})
	e.NoMethod(func(c *gin.Context) {
		WriteProblem(c.Writer, &core.Error{Code: core.CodeMethod, Message: "the resource has no such method"})
	})
	return e
}

func around(log *slog.Logger, random io.Reader) gin.HandlerFunc {
	return func(c *gin.Context) {
		started := time.Now()
		h := c.Writer.Header()
		var id string
		if u, err := uuid.NewRandomFromReader(random); err == nil {
			id = u.String()
			h.Set(RequestIDHeader, id)
		}
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		defer func() {
			if fault := recover(); fault != nil {
				if fault == http.ErrAbortHandler { //nolint:errorlint // G: net/http compares it so
					panic(fault)
				}
				// The panic's value may hold what a visitor sent: its type and its place are enough.
				log.LogAttrs(c, slog.LevelError, "handler panicked", slog.String("request_id", id),
					slog.String("route", c.FullPath()), slog.String("type", fmt.Sprintf("%T", fault)), slog.String("at", place()))
				if !c.Writer.Written() {
					WriteProblem(c.Writer, &core.Error{Code: core.CodeInternal, Message: "something went wrong here; the request id helps to find it"})
				}
				c.Abort()
			}
			level := slog.LevelDebug
			if c.Writer.Status() >= http.StatusInternalServerError {
				level = slog.LevelWarn
			}
			if log.Enabled(c, level) {
				log.LogAttrs(c, level, "request", slog.String("request_id", id), slog.String("method", c.Request.Method),
					slog.String("route", c.FullPath()), slog.Int("status", c.Writer.Status()), slog.Duration("took", time.Since(started)))
			}
		}()
		c.Next()
	}
}

// place is the function that panicked.
func place() string {
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			return fmt.Sprintf("%s:%d", frame.Function, frame.Line)
		}
		if !more {
			return ""
		}
	}
}
