// SPDX-License-Identifier: Apache-2.0
// connect() by way of an io_uring, as newer runtimes do it. Connectors for Dial: 0 or the errno.
#pragma once
#include <sys/socket.h>

namespace culvert::test {

int uring_connect(int fd, const sockaddr* to, socklen_t length);
// A kernel thread takes it from the queue and connects; the app at most wakes it.
int sqpoll_connect(int fd, const sockaddr* to, socklen_t length);

}
