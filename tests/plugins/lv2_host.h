// A small LV2 host for tests: instances of the plugin, its messages, its worker and its state.
#ifndef SEQUENCE_LAYERS_TESTS_PLUGINS_LV2_HOST_H_
#define SEQUENCE_LAYERS_TESTS_PLUGINS_LV2_HOST_H_

#include <lilv/lilv.h>
#include <lv2/atom/atom.h>
#include <lv2/log/log.h>
#include <lv2/options/options.h>
#include <lv2/urid/urid.h>
#include <lv2/worker/worker.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace sl::testing {

// The world of plugins and the mapping of URIs, which all instances share.
class Lv2Host {
 public:
  static Lv2Host& get();
  LilvWorld* world() { return world_; }
  const LilvPlugin* plugin(const std::string& uri);
  LV2_URID urid(const std::string& uri);
  LV2_URID_Map* map() { return &map_; }
  LV2_URID_Unmap* unmap() { return &unmap_; }
  // What plugins logged since the last call.
  std::string take_log();
  void add_log(const char* text) { logged_ += text; }
  LV2_Log_Log* log() { return &log_; }

 private:
  Lv2Host();

  LilvWorld* world_;
  std::map<std::string, LV2_URID> ids_;
  std::vector<std::string> uris_;
  std::string logged_;
  LV2_URID_Map map_;
  LV2_URID_Unmap unmap_;
  LV2_Log_Log log_;
};

// An instance of the plugin for 1 or 2 channels. Scheduled work waits until `work_off`, which does
// it on a thread of its own.
class Lv2Instance {
 public:
  Lv2Instance(int channels, double rate, int32_t max_frames);
  ~Lv2Instance();
  Lv2Instance(const Lv2Instance&) = delete;
  Lv2Instance& operator=(const Lv2Instance&) = delete;

  // Sends patch:Set of the model, or patch:Get, with the next run.
  void send_model(const std::string& directory);
  void send_get();
  // Runs `frames` frames of planar audio. Returns the heap calls and locks of the plugin's run()
  // and work_response().
  int64_t run(const std::vector<const float*>& in, const std::vector<float*>& out, uint32_t frames);
  void work_off();
  int64_t latency() const { return static_cast<int64_t>(latency_); }
  void set_mix(float mix) { mix_ = mix; }
  // The path of the last patch:Set that the plugin sent; empty if there was none.
  const std::string& announced() const { return announced_; }
  void save(const std::string& directory);
  bool restore(const std::string& directory);

 private:
  struct Message {
    std::vector<char> bytes;
    size_t size = 0;
  };
  // A queue of fixed size, so that the plugin's thread allocates nothing.
  struct Queue {
    std::vector<Message> messages;
    size_t count = 0;
    LV2_Worker_Status push(uint32_t size, const void* data);
  };

  void begin_messages();
  void append_object(LV2_URID type, const std::string& directory);
  void read_messages();
  const LV2_Worker_Interface* worker() const;

  int channels_;
  LV2_Worker_Schedule schedule_;
  int32_t max_frames_;
  LV2_Options_Option options_[2];
  LilvInstance* instance_ = nullptr;
  std::vector<uint64_t> control_, notify_;
  float mix_ = 1, latency_ = -1;
  Queue work_, responses_;
  std::string announced_;
};

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_PLUGINS_LV2_HOST_H_
