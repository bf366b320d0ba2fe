// SPDX-License-Identifier: Apache-2.0
// replay FOLDER: in libFuzzer's place, gives the target each file of the folder, in the order of their names.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
    std::vector<std::filesystem::path> files;
    for (int i = 1; i < argc; ++i)
        for (const auto& file : std::filesystem::directory_iterator{argv[i]}) files.push_back(file.path());
    std::sort(files.begin(), files.end());
    for (const auto& file : files) {
        std::ifstream stream{file, std::ios::binary};
        std::vector<char> bytes{std::istreambuf_iterator<char>{stream}, {}};
        std::fprintf(stderr, "%s\n", file.filename().c_str());  // before it: the last one named is the one that broke
        LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    }
    std::printf("%zu seeds\n", files.size());
    return files.empty() ? 1 : 0;
}
