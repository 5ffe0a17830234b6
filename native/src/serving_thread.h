// What every thread that moves data for a mount has to tell the kernel about itself.
#pragma once

/**
 * With iomap the kernel's writeback waits for us. Were one of our threads to allocate memory by writing back files of
 * this very mount, both would wait for ever. SET_NOFS is per thread, and can't be had before there is a mount, when
 * some threads run already: so the wish is kept here, and each thread follows it before it works.
 */
class ServingThread {
 public:
  /** For the calling thread now, and for all others from their next work on. 0 or a negative errno. */
  static long SetNofs(int fuseFd, bool on);
  /** A thread is about to work. Costs a load unless the wish has changed. */
  static void Enter();
};
