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

Sink& sink() {
  static Sink instance;
  return instance;
}

spdlog::logger& default_logger() {
  static const auto logger = std::make_shared<spdlog::logger>(
      "sequence_layers", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  return *logger;
}

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

}  // namespace

void set_log(LogCallback callback, void* user_data, LogLevel level) {
  sink() = {callback, user_data, level};
  default_logger().set_level(spdlog::level::trace);
}

void log_message(LogLevel level, const std::string& message) {
  if (level < sink().level) return;
  if (sink().callback) {
    sink().callback(sink().user_data, static_cast<int32_t>(level), message.c_str());
  } else {
    default_logger().log(to_spdlog(level), message);
  }
}

}  // namespace sl
