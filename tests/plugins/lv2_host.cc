#include "plugins/lv2_host.h"

#include <lv2/atom/forge.h>
#include <lv2/atom/util.h>
#include <lv2/buf-size/buf-size.h>
#include <lv2/patch/patch.h>
#include <lv2/state/state.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <utility>

#include "testing/trap.h"

namespace sl::testing {
namespace {

constexpr const char* kModel = "urn:sequence-layers:lv2:model";

const LV2_Feature* const* features_for(LV2_Worker_Schedule* schedule, LV2_Options_Option* options) {
  static thread_local LV2_Feature features[4];
  static thread_local const LV2_Feature* list[5];
  features[0] = {LV2_URID__map, Lv2Host::get().map()};
  features[1] = {LV2_WORKER__schedule, schedule};
  features[2] = {LV2_LOG__log, Lv2Host::get().log()};
  features[3] = {LV2_OPTIONS__options, options};
  for (int i = 0; i < 4; ++i) list[i] = &features[i];
  return list;
}

int log_list(LV2_Log_Handle self, LV2_URID, const char* format, va_list arguments) {
  char text[1024];
  const int size = std::vsnprintf(text, sizeof(text), format, arguments);
  static_cast<Lv2Host*>(self)->add_log(text);
  return size;
}

int log_format(LV2_Log_Handle self, LV2_URID type, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int size = log_list(self, type, format, arguments);
  va_end(arguments);
  return size;
}

}  // namespace

Lv2Host& Lv2Host::get() {
  static Lv2Host host;
  return host;
}

Lv2Host::Lv2Host() : world_(lilv_world_new()) {
  lilv_world_load_all(world_);
  map_ = {this, [](LV2_URID_Map_Handle self, const char* uri) {
            return static_cast<Lv2Host*>(self)->urid(uri);
          }};
  unmap_ = {this, [](LV2_URID_Unmap_Handle self, LV2_URID urid) -> const char* {
              const auto& uris = static_cast<Lv2Host*>(self)->uris_;
              return urid > 0 && urid <= uris.size() ? uris[urid - 1].c_str() : nullptr;
            }};
  log_.handle = this;
  log_.vprintf = log_list;
  log_.printf = log_format;
}

LV2_URID Lv2Host::urid(const std::string& uri) {
  LV2_URID& id = ids_[uri];
  if (id == 0) {
    uris_.push_back(uri);
    id = static_cast<LV2_URID>(uris_.size());
  }
  return id;
}

const LilvPlugin* Lv2Host::plugin(const std::string& uri) {
  LilvNode* node = lilv_new_uri(world_, uri.c_str());
  const LilvPlugin* plugin = lilv_plugins_get_by_uri(lilv_world_get_all_plugins(world_), node);
  lilv_node_free(node);
  if (!plugin) throw std::runtime_error("no plugin " + uri + ": set LV2_PATH");
  return plugin;
}

std::string Lv2Host::take_log() { return std::exchange(logged_, {}); }

LV2_Worker_Status Lv2Instance::Queue::push(uint32_t size, const void* data) {
  if (count == messages.size() || size > messages[count].bytes.size())
    return LV2_WORKER_ERR_NO_SPACE;
  std::memcpy(messages[count].bytes.data(), data, size);
  messages[count++].size = size;
  return LV2_WORKER_SUCCESS;
}

Lv2Instance::Lv2Instance(int channels, double rate, int32_t max_frames)
    : channels_(channels), max_frames_(max_frames), control_(1024), notify_(1024) {
  for (Queue* queue : {&work_, &responses_}) {
    queue->messages.resize(8);
    for (Message& message : queue->messages) message.bytes.resize(8192);
  }
  schedule_ = {this, [](LV2_Worker_Schedule_Handle self, uint32_t size, const void* data) {
                 return static_cast<Lv2Instance*>(self)->work_.push(size, data);
               }};
  Lv2Host& host = Lv2Host::get();
  options_[0] = {LV2_OPTIONS_INSTANCE,
                 0,
                 host.urid(LV2_BUF_SIZE__maxBlockLength),
                 sizeof(int32_t),
                 host.urid(LV2_ATOM__Int),
                 &max_frames_};
  options_[1] = {};
  const std::string uri =
      std::string("urn:sequence-layers:lv2:") + (channels == 2 ? "stereo" : "mono");
  instance_ = lilv_plugin_instantiate(host.plugin(uri), rate, features_for(&schedule_, options_));
  if (!instance_) throw std::runtime_error("cannot instantiate " + uri);
  lilv_instance_connect_port(instance_, 0, control_.data());
  lilv_instance_connect_port(instance_, 1, notify_.data());
  lilv_instance_connect_port(instance_, 2, &mix_);
  lilv_instance_connect_port(instance_, 3, &latency_);
  lilv_instance_activate(instance_);
  begin_messages();
}

Lv2Instance::~Lv2Instance() {
  lilv_instance_deactivate(instance_);
  lilv_instance_free(instance_);
}

const LV2_Worker_Interface* Lv2Instance::worker() const {
  return static_cast<const LV2_Worker_Interface*>(
      lilv_instance_get_extension_data(instance_, LV2_WORKER__interface));
}

void Lv2Instance::begin_messages() {
  auto* sequence = reinterpret_cast<LV2_Atom_Sequence*>(control_.data());
  sequence->atom = {sizeof(LV2_Atom_Sequence_Body), Lv2Host::get().urid(LV2_ATOM__Sequence)};
  sequence->body = {};
}

void Lv2Instance::append_object(LV2_URID type, const std::string& directory) {
  Lv2Host& host = Lv2Host::get();
  alignas(8) uint8_t bytes[8192];
  LV2_Atom_Forge forge;
  lv2_atom_forge_init(&forge, host.map());
  lv2_atom_forge_set_buffer(&forge, bytes, sizeof(bytes));
  LV2_Atom_Forge_Frame frame;
  lv2_atom_forge_frame_time(&forge, 0);
  lv2_atom_forge_object(&forge, &frame, 0, type);
  if (!directory.empty()) {
    lv2_atom_forge_key(&forge, host.urid(LV2_PATCH__property));
    lv2_atom_forge_urid(&forge, host.urid(kModel));
    lv2_atom_forge_key(&forge, host.urid(LV2_PATCH__value));
    lv2_atom_forge_path(&forge, directory.c_str(), static_cast<uint32_t>(directory.size()));
  }
  lv2_atom_forge_pop(&forge, &frame);
  auto* sequence = reinterpret_cast<LV2_Atom_Sequence*>(control_.data());
  lv2_atom_sequence_append_event(sequence, static_cast<uint32_t>(control_.size() * 8 - 16),
                                 reinterpret_cast<const LV2_Atom_Event*>(bytes));
}

void Lv2Instance::send_model(const std::string& directory) {
  append_object(Lv2Host::get().urid(LV2_PATCH__Set), directory);
}

void Lv2Instance::send_get() { append_object(Lv2Host::get().urid(LV2_PATCH__Get), ""); }

int64_t Lv2Instance::run(const std::vector<const float*>& in, const std::vector<float*>& out,
                         uint32_t frames) {
  for (int c = 0; c < channels_; ++c) {
    const auto at = static_cast<size_t>(c);
    lilv_instance_connect_port(instance_, static_cast<uint32_t>(4 + c), const_cast<float*>(in[at]));
    lilv_instance_connect_port(instance_, static_cast<uint32_t>(4 + channels_ + c), out[at]);
  }
  auto* notify = reinterpret_cast<LV2_Atom_Sequence*>(notify_.data());
  notify->atom = {static_cast<uint32_t>(notify_.size() * 8 - 8), 0};
  const LV2_Worker_Interface* interface = worker();
  const LV2_Handle handle = lilv_instance_get_handle(instance_);
  AllocationTrap trap;
  lilv_instance_run(instance_, frames);
  for (size_t i = 0; i < responses_.count; ++i) {
    const Message& message = responses_.messages[i];
    interface->work_response(handle, static_cast<uint32_t>(message.size), message.bytes.data());
  }
  const int64_t calls = trap.count();
  responses_.count = 0;
  begin_messages();
  read_messages();
  return calls;
}

void Lv2Instance::work_off() {
  std::thread([&] {
    const auto respond = [](LV2_Worker_Respond_Handle self, uint32_t size, const void* data) {
      return static_cast<Lv2Instance*>(self)->responses_.push(size, data);
    };
    for (size_t i = 0; i < work_.count; ++i) {
      const Message& message = work_.messages[i];
      worker()->work(lilv_instance_get_handle(instance_), respond, this,
                     static_cast<uint32_t>(message.size), message.bytes.data());
    }
    work_.count = 0;
  }).join();
}

void Lv2Instance::read_messages() {
  Lv2Host& host = Lv2Host::get();
  const auto* sequence = reinterpret_cast<const LV2_Atom_Sequence*>(notify_.data());
  LV2_ATOM_SEQUENCE_FOREACH(sequence, event) {
    const auto* object = reinterpret_cast<const LV2_Atom_Object*>(&event->body);
    if (object->body.otype != host.urid(LV2_PATCH__Set)) continue;
    const LV2_Atom* value = nullptr;
    lv2_atom_object_get(object, host.urid(LV2_PATCH__value), &value, 0);
    if (value && value->type == host.urid(LV2_ATOM__Path))
      announced_ = static_cast<const char*>(LV2_ATOM_BODY_CONST(value));
  }
}

void Lv2Instance::save(const std::string& directory) {
  Lv2Host& host = Lv2Host::get();
  const LilvPlugin* plugin = host.plugin(lilv_instance_get_uri(instance_));
  LilvState* state = lilv_state_new_from_instance(
      plugin, instance_, host.map(), nullptr, directory.c_str(), directory.c_str(),
      directory.c_str(), nullptr, nullptr, LV2_STATE_IS_POD | LV2_STATE_IS_PORTABLE, nullptr);
  const int status = lilv_state_save(host.world(), host.map(), host.unmap(), state, nullptr,
                                     directory.c_str(), "state.ttl");
  lilv_state_free(state);
  if (status != 0) throw std::runtime_error("cannot save the state to " + directory);
}

bool Lv2Instance::restore(const std::string& directory) {
  Lv2Host& host = Lv2Host::get();
  LilvState* state = lilv_state_new_from_file(host.world(), host.map(), nullptr,
                                              (directory + "/state.ttl").c_str());
  if (!state) return false;
  lilv_state_restore(state, instance_, nullptr, nullptr, 0, nullptr);
  lilv_state_free(state);
  return true;
}

}  // namespace sl::testing
