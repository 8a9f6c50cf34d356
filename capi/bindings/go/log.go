package sequencelayers

// #include "calls.h"
import "C"

import "sync/atomic"

// LogLevel is the severity of a message.
type LogLevel int32

// Severities of messages, the least first; LogOff is more severe than any.
const (
	LogDebug   LogLevel = C.SL_LOG_DEBUG
	LogInfo    LogLevel = C.SL_LOG_INFO
	LogWarning LogLevel = C.SL_LOG_WARNING
	LogError   LogLevel = C.SL_LOG_ERROR
	LogOff     LogLevel = C.SL_LOG_OFF
)

var logCallback atomic.Value

// SetLog sends the library's messages of at least that level to a callback; nil, as at first, to stderr. Steps never log.
// No other goroutine may be inside the library during this call.
func SetLog(level LogLevel, callback func(level LogLevel, message string)) {
	logCallback.Store(callback)
	to := C.int(0)
	if callback != nil {
		to = 1
	}
	C.slgo_log_set(to, C.sl_log_level(level))
}

//export slgoLog
func slgoLog(level C.sl_log_level, message *C.char) {
	if callback, _ := logCallback.Load().(func(LogLevel, string)); callback != nil {
		callback(LogLevel(level), C.GoString(message))
	}
}
