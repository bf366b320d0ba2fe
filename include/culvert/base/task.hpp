// SPDX-License-Identifier: Apache-2.0
// Coroutines on a worker's loop.
//
// A Task is lazy and owned: destroying it destroys its frame, and everything it was waiting for forgets it. That is
// the only cancellation there is, and it is enough, because a loop has one thread. So: nothing may destroy a Task from
// inside its own call stack; TaskGroup and within() see to it.
#pragma once
#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

#include <culvert/base/loop.hpp>
#include <culvert/base/shortage.hpp>

namespace culvert::base {

template <class T = void>
class Task;
class TaskGroup;

namespace detail {

struct PromiseBase {
    std::coroutine_handle<> continuation = std::noop_coroutine();
    std::exception_ptr failure;

    struct Final {
        bool frees_itself = false;
        bool await_ready() noexcept { return frees_itself; }
        template <class Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> done) noexcept {
            return done.promise().continuation;
        }
        void await_resume() noexcept {}
    };
    std::suspend_always initial_suspend() noexcept { return {}; }
    Final final_suspend() noexcept { return {}; }
    void unhandled_exception() noexcept { failure = std::current_exception(); }
};

template <class T>
struct Promise : PromiseBase {
    std::optional<T> value;
    Task<T> get_return_object();
    template <class U>
    void return_value(U&& u) {
        value.emplace(std::forward<U>(u));
    }
    T take() {
        if (failure) std::rethrow_exception(failure);
        return std::move(*value);
    }
};

// One that a group runs is awaited by nobody: its frame frees itself at the end, and as it goes, it leaves the group.
template <>
struct Promise<void> : PromiseBase, AutoListHook {
    ~Promise();
    Task<void> get_return_object();
    Final final_suspend() noexcept;
    void return_void() noexcept {}
    void take() {
        if (failure) std::rethrow_exception(failure);
    }
    // Linked into the group that runs it, which is then remembered in place of who waits.
    void belong_to(TaskGroup& group) noexcept { continuation = std::coroutine_handle<>::from_address(&group); }
    TaskGroup* group() const noexcept {
        return is_linked() ? static_cast<TaskGroup*>(continuation.address()) : nullptr;
    }
};

}

template <class T>
class [[nodiscard]] Task {
public:
    using promise_type = detail::Promise<T>;
    using Handle = std::coroutine_handle<promise_type>;

    Task() = default;
    explicit Task(Handle handle) noexcept : handle_{handle} {}
    Task(Task&& other) noexcept : handle_{std::exchange(other.handle_, {})} {}
    Task& operator=(Task&& other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~Task() {
        if (handle_) handle_.destroy();
    }

    // The awaiter owns the frame, which so ends with the expression and not with the Task: what a long life once waited
    // for takes no memory afterwards.
    auto operator co_await() && noexcept {
        struct Awaiter {
            explicit Awaiter(Handle handle) noexcept : work{handle} {}
            bool await_ready() noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiting) noexcept {
                work.handle_.promise().continuation = waiting;
                return work.handle_;
            }
            T await_resume() { return work.handle_.promise().take(); }
            Task work;
        };
        return Awaiter{std::exchange(handle_, {})};
    }

private:
    friend TaskGroup;
    Handle handle_;
};

template <class T>
Task<T> detail::Promise<T>::get_return_object() {
    return Task<T>{std::coroutine_handle<Promise>::from_promise(*this)};
}
inline Task<void> detail::Promise<void>::get_return_object() {
    return Task<void>{std::coroutine_handle<Promise>::from_promise(*this)};
}

// Something that happens once, or again after reset(). At most one coroutine waits for it.
// It is resumed by the loop, never inside set(): whoever sets it keeps its invariants.
class Event {
public:
    explicit Event(Loop& loop) noexcept : loop_{loop} {}
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    void set() noexcept {
        set_ = true;
        if (waiter_) loop_.resume_soon(*std::exchange(waiter_, nullptr));
    }
    void reset() noexcept { set_ = false; }
    bool is_set() const noexcept { return set_; }

    auto operator co_await() noexcept {
        struct Awaiter : Resumable {
            explicit Awaiter(Event& e) noexcept : event{e} {}
            Awaiter(const Awaiter&) = delete;
            ~Awaiter() {
                if (event.waiter_ == this) event.waiter_ = nullptr;
            }
            bool await_ready() const noexcept { return event.set_; }
            void await_suspend(std::coroutine_handle<> waiting) noexcept {
                CV_CHECK(!event.waiter_, "one coroutine waits for an event");
                handle = waiting;
                event.waiter_ = this;
            }
            void await_resume() const noexcept {}
            Event& event;
        };
        return Awaiter{*this};
    }

private:
    Loop& loop_;
    bool set_ = false;
    Resumable* waiter_ = nullptr;
};

// Owns running tasks. A task's exception (out of memory, in practice) ends that task alone, after it was logged.
class TaskGroup {
public:
    explicit TaskGroup(Loop& loop) noexcept : empty_{loop} { empty_.set(); }
    ~TaskGroup() { cancel_all(); }
    TaskGroup(const TaskGroup&) = delete;
    TaskGroup& operator=(const TaskGroup&) = delete;

    // Runs the task up to its first wait before it returns.
    void spawn(Task<> task);
    std::size_t size() const noexcept { return size_; }

    // Destroys every task's frame; their destructors say how they ended. Not from inside one of the tasks.
    void cancel_all() noexcept;
    // Set while the group has no task.
    Event& empty() noexcept { return empty_; }

private:
    using Member = detail::Promise<void>;
    friend Member;
    void left() noexcept;

    Event empty_;
    std::size_t size_ = 0;
    intrusive::list<Member, intrusive::constant_time_size<false>> members_;
};

namespace detail {

template <class T>
Task<> settle(Task<Result<T>> work, std::optional<Result<T>>& into, Event& settled) {
    try {
        into.emplace(co_await std::move(work));
    } catch (const std::bad_alloc&) {
        shortage::note("an attempt");
        into.emplace(shortage::error());
    }
    settled.set();
}

}

// The work's own answer, or timed_out in the words of `doing`; the work is then destroyed where it waits.
template <class T>
Task<Result<T>> within(Loop& loop, Loop::Clock::duration limit, std::string doing, Task<Result<T>> work) {
    Event settled{loop};
    std::optional<Result<T>> answer;
    TaskGroup one{loop};  // after `answer`: destroyed before what the work writes to
    one.spawn(detail::settle(std::move(work), answer, settled));
    Timer deadline{loop, [&settled] { settled.set(); }};
    deadline.arm(limit);
    co_await settled;
    if (answer) co_return std::move(*answer);
    co_return Error{{ETIMEDOUT, boost::system::system_category()}, std::move(doing)};
}

// Resumes after the time has passed.
inline Task<> sleep_for(Loop& loop, Loop::Clock::duration time) {
    Event over{loop};
    Timer timer{loop, [&over] { over.set(); }};
    timer.arm(time);
    co_await over;
}

}
