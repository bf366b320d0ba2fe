// SPDX-License-Identifier: Apache-2.0
#include <culvert/base/task.hpp>

#include <culvert/base/log.hpp>

namespace culvert::base {

void TaskGroup::joined(Member& member) noexcept {
    members_.push_back(member);
    if (size_++ == 0) empty_.reset();
}

void TaskGroup::left(Member& member) noexcept {
    member.unlink();
    if (--size_ == 0) empty_.set();
}

detail::Detached TaskGroup::run(TaskGroup& group, Task<> task) {
    struct Membership : Member {
        explicit Membership(TaskGroup& g) : group{g} { group.joined(*this); }
        ~Membership() { group.left(*this); }
        TaskGroup& group;
    };
    struct Self {  // learns the handle of the frame it is awaited in
        std::coroutine_handle<> frame;
        bool await_ready() noexcept { return false; }
        bool await_suspend(std::coroutine_handle<> h) noexcept {
            frame = h;
            return false;
        }
        std::coroutine_handle<> await_resume() noexcept { return frame; }
    };
    Membership membership{group};
    Self self{};
    membership.frame = co_await self;
    try {
        // A local of its own, so that it ends before the group is told that its member has left.
        Task<> work = std::move(task);
        co_await std::move(work);
    } catch (const std::exception& failure) {
        log::error("base", "a connection's task failed and was ended alone: {}", failure.what());
    }
}

void TaskGroup::spawn(Task<> task) {
    run(*this, std::move(task)).handle.resume();
}

void TaskGroup::cancel_all() noexcept {
    // Each frame unlinks itself as it is destroyed.
    while (!members_.empty()) members_.front().frame.destroy();
}

}
