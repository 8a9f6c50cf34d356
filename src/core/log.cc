#include "core/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace sl {
namespace {

struct Sink {
  LogCallback callback = nullptr;
  void* user_data = nullptr;
  LogLevel level = LogLevel::kWarning;
};

constinit Sink g_sink;

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    default:
      return spdlog::level::err;
  }
}

// Uses a new logger for each message. A shared logger has a lock, which another thread might hold
// during a fork, so that it would stay locked in the child.
void write_to_stderr(LogLevel level, const std::string& message) {
  spdlog::logger logger("sequence_layers", std::make_shared<spdlog::sinks::stderr_color_sink_st>());
  logger.set_level(spdlog::level::trace);
  logger.log(to_spdlog(level), message);
}

}  // namespace

void set_log(LogCallback callback, void* user_data, LogLevel level) {
  g_sink = {callback, user_data, level};
}

void log_message(LogLevel level, const std::string& message) noexcept {
  if (level < g_sink.level) return;
  try {
    if (g_sink.callback) {
      g_sink.callback(g_sink.user_data, static_cast<int32_t>(level), message.c_str());
    } else {
      write_to_stderr(level, message);
    }
  } catch (...) {
  }
}

}  // namespace sl
