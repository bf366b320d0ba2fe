// SPDX-License-Identifier: Apache-2.0
#include <culvert/control/watch.hpp>

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <boost/asio/io_context.hpp>
#include <doctest/doctest.h>

using namespace culvert::control;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

// A folder of its own, a watch on f.yaml in it, and how often it called.
struct Bench {
    fs::path top = fs::temp_directory_path() / ("culvert-watch-" + std::to_string(::getpid()));
    fs::path folder = top / "etc";
    fs::path file = folder / "f.yaml";
    boost::asio::io_context io;
    std::unique_ptr<FileWatch> watch;
    int calls = 0;

    Bench() {
        fs::remove_all(top);
        fs::create_directories(folder);
        write("first");
    }
    ~Bench() {
        watch.reset();
        fs::remove_all(top);
    }

    void start(FileWatch::Pace pace = {20ms, 1000ms, 20ms}) {
        auto started = FileWatch::start(
            io, file.string(), [this] { ++calls; }, pace);
        REQUIRE(started.has_value());
        watch = std::move(*started);
    }
    void write(const std::string& text) { std::ofstream{file} << text; }
    void replace(const std::string& text) {
        fs::path fresh = folder / "f.yaml.tmp";
        std::ofstream{fresh} << text;
        fs::rename(fresh, file);
    }

    bool called(int times) {
        auto limit = std::chrono::steady_clock::now() + 5s;
        io.restart();
        while (calls < times && std::chrono::steady_clock::now() < limit) io.run_one_for(100ms);
        return calls == times;
    }
    // Long enough for a call that should not come.
    bool quiet() {
        int before = calls;
        io.restart();
        io.run_for(120ms);
        return calls == before;
    }
};

}

TEST_SUITE("control") {

TEST_CASE("watch: hears a file that is written in place, and again") {
    Bench bench;
    bench.start();
    CHECK(bench.quiet());
    bench.write("second");
    CHECK(bench.called(1));
    bench.write("third");
    CHECK(bench.called(2));
    CHECK(bench.quiet());
}

TEST_CASE("watch: hears a file that an editor renames into its place") {
    Bench bench;
    bench.start();
    bench.replace("second");
    CHECK(bench.called(1));
    bench.write("third");  // to the new file, which a watch on the old one would miss
    CHECK(bench.called(2));
    CHECK(bench.quiet());
}

TEST_CASE("watch: hears the swap of a ConfigMap's link") {
    Bench bench;
    fs::remove(bench.file);
    for (const char* version : {"..v1", "..v2"}) {
        fs::create_directory(bench.folder / version);
        std::ofstream{bench.folder / version / "f.yaml"} << version;
    }
    fs::create_directory_symlink("..v1", bench.folder / "..data");
    fs::create_symlink("..data/f.yaml", bench.file);
    bench.start();
    CHECK(bench.quiet());
    fs::create_directory_symlink("..v2", bench.folder / "..data_tmp");
    fs::rename(bench.folder / "..data_tmp", bench.folder / "..data");
    CHECK(bench.called(1));
    CHECK(bench.quiet());
}

TEST_CASE("watch: a file that is gone is no news, its return is") {
    Bench bench;
    bench.start();
    fs::remove(bench.file);
    CHECK(bench.quiet());
    bench.write("back");
    CHECK(bench.called(1));
}

TEST_CASE("watch: a file that comes later is heard of") {
    Bench bench;
    fs::remove(bench.file);
    bench.start();
    CHECK(bench.quiet());
    bench.write("here");
    CHECK(bench.called(1));
}

TEST_CASE("watch: a directory that is moved away or removed is found again") {
    Bench bench;
    bench.start();
    fs::rename(bench.folder, bench.top / "away");
    CHECK(bench.quiet());
    fs::create_directory(bench.folder);
    bench.write("in a new directory");
    CHECK(bench.called(1));
    fs::remove_all(bench.folder);
    CHECK(bench.quiet());
    fs::create_directory(bench.folder);
    bench.write("in one more");
    CHECK(bench.called(2));
    bench.write("again");
    CHECK(bench.called(3));
}

TEST_CASE("watch: other files of the directory are not ours") {
    Bench bench;
    bench.start();
    std::ofstream{bench.folder / "other.yaml"} << "text";
    CHECK(bench.quiet());
    CHECK(bench.calls == 0);
}

TEST_CASE("watch: many writes are one call") {
    Bench bench;
    bench.start({100ms, 10s, 100ms});
    for (int i = 0; i < 20; ++i) {
        bench.write(std::string(static_cast<std::size_t>(i), 'x'));
        bench.io.poll();
    }
    CHECK(bench.called(1));
    CHECK(bench.quiet());
}

TEST_CASE("watch: a writer that never rests is heard of all the same") {
    Bench bench;
    bench.start({10s, 50ms, 10s});
    auto limit = std::chrono::steady_clock::now() + 5s;
    for (int i = 0; bench.calls == 0 && std::chrono::steady_clock::now() < limit; ++i) {
        bench.write(std::to_string(i));
        bench.io.run_for(5ms);
    }
    CHECK(bench.calls == 1);
}

TEST_CASE("watch: it may be destroyed while something is on its way, and by its own call") {
    Bench bench;
    bench.start();
    bench.write("second");
    bench.io.run_for(1ms);
    bench.watch.reset();
    CHECK(bench.quiet());

    auto started = FileWatch::start(bench.io, bench.file.string(),
                                    [&bench] {
                                        ++bench.calls;
                                        bench.watch.reset();
                                    },
                                    {1ms, 1s, 1s});
    REQUIRE(started.has_value());
    bench.watch = std::move(*started);
    bench.write("third");
    CHECK(bench.called(1));
    bench.write("fourth");
    CHECK(bench.quiet());
}

TEST_CASE("watch: a directory that is not there is an error that names it") {
    boost::asio::io_context io;
    auto started = FileWatch::start(io, "/nonexistent/f.yaml", [] {});
    REQUIRE(started.has_error());
    CHECK(started.error().to_string() == "watch directory /nonexistent: No such file or directory (os error 2)");
}

}
