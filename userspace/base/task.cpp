// SPDX-License-Identifier: Apache-2.0
#include <culvert/base/task.hpp>

#include <culvert/base/log.hpp>
#include <culvert/base/shortage.hpp>

namespace culvert::base {
namespace {

void say_why(const std::exception_ptr& failure) noexcept {
    try {
        std::rethrow_exception(failure);
    } catch (const std::bad_alloc&) {
        shortage::note("a connection");
    } catch (const std::exception& e) {
        log::error("base", "a connection's task failed and was ended alone: {}", e.what());
    }
}

}

detail::PromiseBase::Final detail::Promise<void>::final_suspend() noexcept {
    if (is_linked() && failure) say_why(failure);
    return {is_linked()};
}

// After the task's own variables, so that the group hears of the end when the work is gone.
detail::Promise<void>::~Promise() {
    TaskGroup* left = group();
    if (!left) return;
    unlink();
    left->left();
}

void TaskGroup::left() noexcept {
    if (--size_ == 0) empty_.set();
}

void TaskGroup::spawn(Task<> task) {
    auto running = std::exchange(task.handle_, {});
    running.promise().belong_to(*this);
    members_.push_back(running.promise());
    if (size_++ == 0) empty_.reset();
    running.resume();
}

void TaskGroup::cancel_all() noexcept {
    // Each frame unlinks itself as it is destroyed.
    while (!members_.empty()) std::coroutine_handle<Member>::from_promise(members_.front()).destroy();
}

}
