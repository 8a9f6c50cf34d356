// Costs of layers (time, arithmetic and memory traffic), recorded while a model runs on one thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sl {

class Profile {
 public:
  // One layer at one place of the tree. Times and counts are sums over all of its calls; those of
  // its children are not in them.
  struct Entry {
    const void* layer;
    int64_t parent;  // index of the entry that it was called in; -1: none
    std::string type;
    std::string path;
    int64_t calls = 0;
    int64_t nanoseconds = 0;
    int64_t flop = 0;
    int64_t bytes = 0;
    int64_t folded_into = -1;  // index of the entry of the layer that does its work; -1: none
  };

  const std::vector<Entry>& entries() const { return entries_; }
  void clear() { *this = Profile(); }

  // Around each call of a layer: `leave` gets what `enter` returned. Recording counts as time of
  // the layer, so that the times of all add up to that of the run.
  int64_t enter(const void* layer, const std::string& type, const std::string& name);
  void leave(int64_t parent);
  // Counts a call of a layer whose work, of so many operations, another one has done in the same
  // parent.
  void list_folded(const void* layer, const std::string& type, const std::string& name,
                   const void* doer, int64_t flop);
  // Counts work of the layer that is running.
  void count(int64_t flop, int64_t bytes);

 private:
  using Clock = std::chrono::steady_clock;

  // Time since the last change goes to the layer that was running.
  void settle();
  // Index of the entry, or their number if there is none.
  size_t find(const void* layer, int64_t parent) const;
  // Counts a call within the layer that is running and returns the entry's index.
  size_t count_call(const void* layer, const std::string& type, const std::string& name);

  std::vector<Entry> entries_;
  int64_t current_ = -1;
  size_t next_ = 0;  // the entry after the last one entered
  Clock::time_point since_;
};

}  // namespace sl
