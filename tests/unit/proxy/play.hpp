// SPDX-License-Identifier: Apache-2.0
// A story that is told on a worker's loop.
#pragma once
#include <culvert/base/loop.hpp>
#include <culvert/base/task.hpp>

#include <utility>

inline culvert::base::Task<> stop_after(culvert::base::Loop& loop, culvert::base::Task<> story) {
    co_await std::move(story);
    loop.stop();
}

// Until it has ended, whatever else waits on the loop.
inline void play(culvert::base::Loop& loop, culvert::base::TaskGroup& tasks, culvert::base::Task<> story) {
    tasks.spawn(stop_after(loop, std::move(story)));
    loop.run();
}
