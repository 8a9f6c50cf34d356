#include "core/profile.h"

#include <utility>

namespace sl {

void Profile::settle() {
  const Clock::time_point now = Clock::now();
  if (current_ >= 0) {
    entries_[static_cast<size_t>(current_)].nanoseconds +=
        std::chrono::duration_cast<std::chrono::nanoseconds>(now - since_).count();
  }
  since_ = now;
}

size_t Profile::find(const void* layer, int64_t parent) const {
  const auto is_it = [&](size_t i) {
    return i < entries_.size() && entries_[i].layer == layer && entries_[i].parent == parent;
  };
  // Runs go through the layers in the same order each time.
  if (is_it(next_)) return next_;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (is_it(i)) return i;
  }
  return entries_.size();
}

size_t Profile::count_call(const void* layer, const std::string& type, const std::string& name) {
  const int64_t parent = current_;
  const size_t found = find(layer, parent);
  if (found == entries_.size()) {
    std::string path;
    if (parent >= 0) {
      const std::string& above = entries_[static_cast<size_t>(parent)].path;
      path = above.empty() || name.empty() ? above + name : above + "." + name;
    }
    entries_.push_back({layer, parent, type, std::move(path)});
  }
  ++entries_[found].calls;
  next_ = found + 1;
  return found;
}

int64_t Profile::enter(const void* layer, const std::string& type, const std::string& name) {
  settle();
  const int64_t parent = current_;
  current_ = static_cast<int64_t>(count_call(layer, type, name));
  return parent;
}

void Profile::list_folded(const void* layer, const std::string& type, const std::string& name,
                          const void* doer, int64_t flop) {
  Entry& entry = entries_[count_call(layer, type, name)];
  entry.folded_into = static_cast<int64_t>(find(doer, current_));
  entry.flop += flop;
}

void Profile::leave(int64_t parent) {
  settle();
  current_ = parent;
}

void Profile::count(int64_t flop, int64_t bytes) {
  if (current_ < 0) return;
  Entry& entry = entries_[static_cast<size_t>(current_)];
  entry.flop += flop;
  entry.bytes += bytes;
}

}  // namespace sl
