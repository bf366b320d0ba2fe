// SPDX-License-Identifier: Apache-2.0
// The BPF object, loaded: once for the node, and once more for every pod.
//
// Open, set the constants, load, always in that order. Only programs.cpp sees the skeleton.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>
#include <culvert/capture/capture.hpp>

namespace culvert::capture {

class Programs {
public:
    struct Node {
        std::uint64_t netns;   // cookie of the daemon's own
        std::uint64_t daemon;  // a number no other daemon has
        std::uint32_t max_pods;
        std::uint32_t max_flows;
    };
    struct Pod {
        std::uint64_t netns;
        std::uint32_t workers;
    };
    // A pinned map's descriptor (owned by the callee's caller) or none.
    using FindPinned = std::function<base::Fd(const char* map)>;

    // sockops and alive, and all shared maps: pinned ones of an earlier daemon, else new ones.
    static base::Result<Programs> load(const Node&, const FindPinned&);
    // lookup and guards with a cv_listeners of their own, over the node's maps.
    static base::Result<Programs> load(const Pod&, const Programs& node);

    Programs(Programs&&) noexcept;
    Programs& operator=(Programs&&) noexcept;
    ~Programs();

    // Borrowed: libbpf owns them.
    int program(const char* name) const;
    int map(const char* name) const;
    MapFill fill_of(const char* map) const;  // counts the keys
    // Every map that is shared by all pods, in the order to pin them.
    void each_shared_map(const std::function<void(const char* name, int fd)>&) const;

private:
    struct Skeleton;
    explicit Programs(std::unique_ptr<Skeleton>) noexcept;
    std::unique_ptr<Skeleton> skeleton_;
};

}
