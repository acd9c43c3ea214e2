import { ServerHome } from '../../src/servers/server-home.ts'
import { keepTemporaryFilesIn } from './temporary-folder.ts'

/** For the tests that need no server: runs once before all of them; what it returns runs after them. */
export default async function setup(): Promise<() => Promise<void>> {
  const home = await ServerHome.create('test')
  const release = await keepTemporaryFilesIn(home)
  return async () => {
    release()
    await home.close()
  }
}
