// A cache of what a layer computes once for each size of its input, such as plans, windows and
// matrices.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace sl::ops {

// Values of type T by key, made at their first request and kept as long as this object. Any thread
// may call `get`. A value that `declare` has requested is found in steps without locks or
// allocations.
template <typename T>
class PerSize {
 public:
  PerSize() = default;
  PerSize(const PerSize&) = delete;
  PerSize& operator=(const PerSize&) = delete;
  ~PerSize() {
    for (Node* node = first_.load(); node;) delete std::exchange(node, node->next);
  }

  template <typename Make>
  const T& get(int64_t key, Make&& make) const {
    if (const T* found = find(key)) return *found;
    // If two threads make the value at the same time, that of the second one stays unused.
    Node* node = new Node{key, make(), first_.load()};
    while (!first_.compare_exchange_weak(node->next, node)) {
    }
    return node->value;
  }

 private:
  struct Node {
    int64_t key;
    T value;
    Node* next;
  };

  const T* find(int64_t key) const {
    for (const Node* node = first_.load(); node; node = node->next) {
      if (node->key == key) return &node->value;
    }
    return nullptr;
  }

  mutable std::atomic<Node*> first_ = nullptr;
};

}  // namespace sl::ops
